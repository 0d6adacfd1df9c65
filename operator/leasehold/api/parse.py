"""Raw Kubernetes objects to models: the one way in.

Complaints carry kind, name, field path and problem, and never a value from the object, because a value may be a
secret and a complaint ends in conditions, events and logs.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from leasehold.api.externalsecret import ExternalSecret
from leasehold.api.generators import VaultDynamicSecret
from leasehold.api.meta import Model
from leasehold.api.stores import ClusterSecretStore, SecretStore

_M = TypeVar("_M", bound=Model)

_PROBLEMS = {
    "missing": "is required",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "int_type": "must be an integer",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "tuple_type": "must be a list",
    "datetime_parsing": "must be a time in RFC 3339 form",
    "datetime_from_date_parsing": "must be a time in RFC 3339 form",
    "datetime_type": "must be a time in RFC 3339 form",
}


class Invalid(ValueError):
    """An object that is not what its kind demands.

    `path` is the first offending field ("spec.data[0].secretKey"), `problem` completes the sentence "<path> ...".
    """

    def __init__(self, kind: str, name: str, path: str, problem: str) -> None:
        super().__init__(f"{kind} {name}: {path} {problem}")
        self.kind = kind
        self.name = name
        self.path = path
        self.problem = problem


def external_secret(obj: Mapping[str, Any]) -> ExternalSecret:
    """Read a raw ExternalSecret, metadata included. Raises Invalid."""
    return _read(ExternalSecret, "ExternalSecret", obj)


def secret_store(obj: Mapping[str, Any]) -> SecretStore:
    """Read a raw SecretStore, metadata included. Raises Invalid."""
    return _read(SecretStore, "SecretStore", obj)


def cluster_secret_store(obj: Mapping[str, Any]) -> ClusterSecretStore:
    """Read a raw ClusterSecretStore, metadata included. Raises Invalid."""
    return _read(ClusterSecretStore, "ClusterSecretStore", obj)


def vault_dynamic_secret(obj: Mapping[str, Any]) -> VaultDynamicSecret:
    """Read a raw VaultDynamicSecret, metadata included. Raises Invalid."""
    return _read(VaultDynamicSecret, "VaultDynamicSecret", obj)


def _read(model: type[_M], kind: str, obj: Mapping[str, Any]) -> _M:
    try:
        return model.model_validate(obj if isinstance(obj, dict) else dict(obj))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    # raised outside the handler: the cause would keep the whole input alive
    raise Invalid(kind, _name(obj), _path(first["loc"]), _problem(first["type"], first.get("ctx", {}), first["msg"]))


def _name(obj: Mapping[str, Any]) -> str:
    metadata = obj.get("metadata")
    if not isinstance(metadata, Mapping):
        return "(unnamed)"
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if not isinstance(name, str):
        return "(unnamed)"
    return f"{namespace}/{name}" if isinstance(namespace, str) and namespace else name


def _path(location: tuple[int | str, ...]) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".") or "the object"


def _problem(kind: str, context: Mapping[str, Any], message: str) -> str:
    if kind in _PROBLEMS:
        return _PROBLEMS[kind]
    if kind in {"enum", "literal_error"}:
        return f"must be {context['expected']}"
    if kind == "value_error":  # raised by our own validators, whose texts carry no input
        return message.removeprefix("Value error, ")
    return "is not valid"
