"""The shapes that several kinds share: object metadata, selectors of Secrets and accounts, conditions.

Here is also the base class that makes our models frozen and camel-cased, and the small vocabulary by which a model
says what its CRD must demand. Models check types, enums and required fields; lengths, patterns and rules are the
CRD's, so that reading thousands of objects stays cheap.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, WithJsonSchema
from pydantic.alias_generators import to_camel


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`. A date is shown as an age, so a time to come needs type string."""

    name: str
    path: str
    type: Literal["string", "date", "integer", "boolean"] = "string"


READY_REASON = Column("Status", '.status.conditions[?(@.type=="Ready")].reason')
READY_STATUS = Column("Ready", '.status.conditions[?(@.type=="Ready")].status')


@dataclass(frozen=True, slots=True)
class ResourceType:
    """How the API server knows a kind: its address, scope and names, and what kubectl shows of it."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ("external-secrets",)
    columns: tuple[Column, ...] = ()
    selectable_fields: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """Group and version as manifests write them."""
        return f"{self.group}/{self.version}"

    @property
    def singular(self) -> str:
        """The kind in lower case."""
        return self.kind.lower()


class Model(BaseModel):
    """Base of all models: frozen, camelCase outside, unknown fields ignored, input never shown in errors.

    As in Go, an empty string means the same as an absent one: ask `if ref.property`, not `is not None`.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
    )

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON-ready dict that the API server takes: camelCase, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def demand(**schema: Any) -> WithJsonSchema:
    """Say what the CRD demands of a string without checking it at parse time."""
    return WithJsonSchema({"type": "string", **schema})


def unset_in_crd(schema: dict[str, Any]) -> None:
    """Keep a model's default out of the CRD: there the field stays absent, as in ESO (no GitOps diffs)."""
    schema.pop("default", None)


def rules(*pairs: tuple[str, str], **schema: Any) -> dict[str, Any]:
    """Return a schema extra with CEL rules, each a pair of expression and message, and further keywords."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs], **schema}


_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
CRON = (
    r"^(@(annually|yearly|monthly|weekly|daily|midnight|hourly)|@every\s+\S+"
    r"|[0-9A-Za-z*,/?#-]+(\s+[0-9A-Za-z*,/?#-]+){4})$"
)
"""Five cron fields, or a name such as @daily (RE2 syntax). Whether it can be read is found out at sync."""

Name = Annotated[str, demand(minLength=1, maxLength=253, pattern=rf"^{_LABEL}(\.{_LABEL})*$")]
"""The name of an object (a DNS subdomain)."""
Namespace = Annotated[str, demand(minLength=1, maxLength=63, pattern=f"^{_LABEL}$")]
"""The name of a namespace (a DNS label)."""
Key = Annotated[str, demand(minLength=1, maxLength=253, pattern=r"^[-._a-zA-Z0-9]+$")]
"""A key of a Secret or ConfigMap."""
Flag = Annotated[bool, Strict()]
Number = Annotated[int, Strict()]
Opaque = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})]
"""An object whose inside we do not know."""
Anything = Annotated[Any, WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True})]
"""Any JSON value."""


class ObjectMeta(Model):
    """The parts of an object's metadata that we read."""

    name: str
    namespace: str | None = None
    uid: str = ""
    generation: Number = 0
    resource_version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


class Kind(Model):
    """Base of the models that are objects of their own."""

    resource: ClassVar[ResourceType]

    metadata: ObjectMeta


class StoreKind(StrEnum):
    """The two kinds of store."""

    SECRET_STORE = "SecretStore"  # a kind, no secret
    CLUSTER_SECRET_STORE = "ClusterSecretStore"


class ObjectRef(Model):
    """A reference to an object in the same namespace."""

    name: Name = Field(description="Name of the object.")


class SecretKeySelector(Model):
    """One key of a Secret."""

    name: Name | None = Field(default=None, description="Name of the Secret.")
    namespace: Namespace | None = Field(
        default=None,
        description="Namespace of the Secret. A SecretStore may only name its own; a ClusterSecretStore that names"
        " none reads in the namespace of the ExternalSecret.",
    )
    key: Key | None = Field(default=None, description="Key in the Secret. Some uses have a default.")


class ServiceAccountSelector(Model):
    """A ServiceAccount and the audiences of the token wanted for it."""

    name: Name = Field(description="Name of the ServiceAccount.")
    namespace: Namespace | None = Field(
        default=None,
        description="Namespace of the ServiceAccount. A SecretStore may only name its own; a ClusterSecretStore that"
        " names none takes the account in the namespace of the ExternalSecret.",
    )
    audiences: tuple[str, ...] = Field(
        default=(), description="Audiences of the requested token, beside those that the use itself adds."
    )


class CAProvider(Model):
    """Where the certificate authorities of a server are kept."""

    type: Literal["Secret", "ConfigMap"] = Field(description="Kind of the object that holds the certificates.")
    name: Name = Field(description="Name of the object.")
    key: Key | None = Field(default=None, description="Key in the object.")
    namespace: Namespace | None = Field(
        default=None, description="Namespace of the object. Only a ClusterSecretStore may name one, and must."
    )


class LabelRequirement(Model):
    """One requirement of a label selector."""

    key: str = Field(description="Label key that the requirement is about.")
    operator: str = Field(description="How key and values relate: In, NotIn, Exists or DoesNotExist.")
    values: tuple[str, ...] = Field(
        default=(),
        description="Values for In and NotIn; empty for Exists and DoesNotExist.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class LabelSelector(Model):
    """A label selector; all its parts must match, and an empty one matches everything."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    match_labels: dict[str, str] = Field(default_factory=dict, description="Labels that must be there, with values.")
    match_expressions: tuple[LabelRequirement, ...] = Field(
        default=(),
        description="Requirements beside matchLabels.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class Condition(Model):
    """One observation about an object."""

    type: str = Field(description="What the condition is about.")
    status: str = Field(description="True, False or Unknown.")
    reason: str | None = Field(default=None, description="Cause of the last change, as one word.")
    message: str | None = Field(default=None, description="Cause, object and remedy, as a sentence.")
    last_transition_time: datetime | None = Field(default=None, description="When the status last changed.")


class Window(Model):
    """A span of time that comes back."""

    schedule: Annotated[str, demand(maxLength=256, pattern=CRON)] = Field(
        description="When the window opens, in UTC: a cron line of five fields, @daily and the like, or @every."
    )
    duration: str = Field(description="How long the window stays open, such as 2h.")


class RetrySettings(Model):
    """How often and after which pause a backend call is tried again."""

    max_retries: Annotated[Number | None, WithJsonSchema({"type": "integer", "format": "int32"})] = Field(
        default=None, description="How often a failed call is repeated."
    )
    retry_interval: str | None = Field(default=None, description="Pause before a repetition, such as 5s.")
