"""Paths of the KV engine as ESO builds them, and what a read of one gives: pure but for the one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from leasehold.api.stores.vault import VaultProvider
from leasehold.domain.errors import Misconfigured
from leasehold.domain.ports import Remote
from leasehold.providers.vault.documents import KvDocument, Number, go_json

KV_ENGINES = frozenset({"kv", "generic", "cubbyhole"})
"""Engine types whose reads never lease."""
SYSTEM_METADATA = ("created_time", "current_version", "delete_version_after")
"""What metadataPolicy Fetch shows beside custom_metadata (ESO's choice)."""


def clean(path: str) -> str:
    """Return a path without empty and single-dot segments.

    Raises:
        Misconfigured: it climbs out of where it is put.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Misconfigured("the path climbs by ..", path=path, remedy="write the path of the secret itself")
    return "/".join(parts)


def data_path(key: str, *, mount: str | None, version: str) -> str:
    """Return the API path of a secret: the mount in front once, ``data`` after it for version 2.

    Without a mount the first segment of the key is it, unless the key has a ``data`` segment already.
    """
    key = clean(key)
    if mount is None:
        if version == "v1" or "/data/" in key:
            return key
        first, _, rest = key.partition("/")
        return f"{first}/data/{rest}" if rest else f"{first}/data"
    mount, rest = clean(mount), _inside(key, mount=clean(mount), version=version)
    return f"{mount}/{rest}" if version == "v1" else f"{mount}/data/{rest}"


def metadata_path(key: str, *, mount: str | None) -> str:
    """Return the API path of a secret's metadata (version 2)."""
    key = clean(key)
    if mount is None:
        if "/data/" in key:
            return key.replace("/data/", "/metadata/", 1)
        first, _, rest = key.partition("/")
        return f"{first}/metadata/{rest}"
    mount = clean(mount)
    return f"{mount}/metadata/{_inside(key, mount=mount, version='v2')}"


def _inside(key: str, *, mount: str, version: str) -> str:
    """Return the key without the mount that it repeats."""
    if not key.startswith(f"{mount}/"):
        return key
    rest = key.removeprefix(f"{mount}/")
    return rest.removeprefix("data/") if version == "v2" else rest


def request_path(provider: VaultProvider, remote: Remote) -> str:
    """Return the API path that a remote is read from.

    Raises:
        Misconfigured: metadata was asked of KV version 1, or the path climbs.
    """
    if not remote.metadata:
        return data_path(remote.path, mount=provider.path, version=provider.version)
    if provider.version == "v1":
        raise Misconfigured(
            "KV version 1 has no metadata", path=remote.path, remedy="remove metadataPolicy, or use a v2 store"
        )
    return metadata_path(remote.path, mount=provider.path)


async def read(vault: Any, path: str, *, version: str = "") -> dict[str, Any]:
    """Read an API path with every number exact; ``vault`` is an hvac client.

    Raises:
        Trouble: there is nothing, or no answer.
    """
    params = {"version": version} if version else None
    answer: dict[str, Any] = await vault.adapter.get(f"/v1/{quote(path)}", params=params, exact=True)
    return answer


def document(provider: VaultProvider, remote: Remote, answer: Mapping[str, Any], *, path: str) -> KvDocument:
    """Return the document in an answer.

    ``data: null`` was stored so (deleted and missing are 404) and is an empty secret.

    Raises:
        Misconfigured: the answer has another shape than this version's.
    """
    data = answer.get("data")
    if remote.metadata:
        return KvDocument(_metadata(data if isinstance(data, Mapping) else {}), path=path)
    if provider.version == "v2":
        if not isinstance(data, Mapping) or "data" not in data:
            raise Misconfigured(
                "the answer is none of KV version 2", path=path, remedy="set provider.vault.version to v1"
            )
        data = data["data"]
    if data is None:
        data = {}
    if not isinstance(data, Mapping):
        raise Misconfigured("the secret is no JSON object", path=path, remedy="read it with another tool")
    return KvDocument(data, path=path)


def _metadata(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata as texts."""
    shown = {name: data[name] for name in SYSTEM_METADATA if data.get(name) is not None}
    custom = data.get("custom_metadata")
    if isinstance(custom, Mapping):
        shown |= custom
    return {name: _text(value) for name, value in shown.items()}


def _text(value: Any) -> str:
    return str(value) if isinstance(value, (str, Number)) else go_json(value)
