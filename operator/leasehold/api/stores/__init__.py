"""SecretStore and ClusterSecretStore: where a backend is and how to log in.

One module per provider that we speak to. The others of ESO are accepted as opaque objects, so that a cluster which is
shared with ESO keeps working on our CRDs.
"""

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, StrictInt, WithJsonSchema, model_validator

from leasehold.api import duration
from leasehold.api.meta import (
    READY_REASON,
    READY_STATUS,
    Column,
    Condition,
    Kind,
    LabelSelector,
    Model,
    Namespace,
    ResourceType,
    RetrySettings,
)
from leasehold.api.stores.fake import FakeProvider
from leasehold.api.stores.vault import VaultProvider

OPAQUE_PROVIDERS = (
    "akeyless",
    "aws",
    "azurekv",
    "barbican",
    "beyondtrust",
    "beyondtrustworkloadcredentials",
    "bitwardensecretsmanager",
    "chef",
    "cloudrusm",
    "conjur",
    "crd",
    "delinea",
    "doppler",
    "dvls",
    "fortanix",
    "gcpsm",
    "github",
    "gitlab",
    "ibm",
    "infisical",
    "keepersecurity",
    "kubernetes",
    "nebiusmysterybox",
    "ngrok",
    "onboardbase",
    "onepassword",
    "onepasswordSDK",
    "openBao",
    "oracle",
    "ovh",
    "passbolt",
    "passworddepot",
    "previder",
    "pulumi",
    "scaleway",
    "secretserver",
    "senhasegura",
    "volcengine",
    "webhook",
    "yandexcertificatemanager",
    "yandexlockbox",
)
"""Providers of ESO that we do not speak yet: accepted, kept, and answered with InvalidProviderConfig."""


def _add_opaque(schema: dict[str, Any]) -> None:
    for name in OPAQUE_PROVIDERS:
        schema["properties"][name] = {
            "type": "object",
            "description": "Accepted as it is; a store with this provider is not served by Leasehold.",
            "x-kubernetes-preserve-unknown-fields": True,
        }
    schema |= {"minProperties": 1, "maxProperties": 1}


class Provider(Model):
    """The backend: exactly one field is set. Providers that we do not speak are kept in `model_extra`."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_add_opaque)

    vault: VaultProvider | None = Field(default=None, description="HashiCorp Vault, or a server that speaks like it.")
    fake: FakeProvider | None = Field(
        default=None, description="Values written in the store itself; not for real secrets."
    )

    @model_validator(mode="after")
    def _hold_exactly_one(self) -> "Provider":
        if len(self.model_fields_set) != 1:
            raise ValueError("must name exactly one provider")
        return self


class StoreCondition(Model):
    """Namespaces that may use a ClusterSecretStore; any one of the fields suffices."""

    namespace_selector: LabelSelector | None = Field(default=None, description="Namespaces with these labels.")
    namespaces: tuple[Namespace, ...] = Field(default=(), description="Namespaces by name.")
    namespace_regexes: tuple[str, ...] = Field(
        default=(), description="Namespaces whose name has a match of one of these regular expressions (RE2)."
    )


_INTERVAL = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "x-kubernetes-int-or-string": True,
    "minimum": 0,
    "pattern": f"^$|{duration.NONNEGATIVE}",
}


class SecretStoreSpec(Model):
    """Where a backend is and how to log in."""

    controller: str | None = Field(
        default=None, description="Class of the operator that answers for this store; any if absent."
    )
    provider: Provider = Field(description="The backend: exactly one field is set.")
    retry_settings: RetrySettings | None = Field(default=None, description="Repetition of failed calls.")
    refresh_interval: Annotated[StrictInt | str | None, WithJsonSchema(_INTERVAL)] = Field(
        default=None,
        description="Time between two checks of the store: seconds as an integer, or a duration such as 5m. The"
        " operator's default if absent, empty or 0.",
    )
    conditions: tuple[StoreCondition, ...] = Field(
        default=(),
        description="Namespaces that may use a ClusterSecretStore: all if absent, else any match suffices. Without"
        " effect on a SecretStore.",
    )

    def refresh_seconds(self) -> float | None:
        """Return the seconds between two checks, None for the operator's default.

        Raises ValueError on a bad or negative duration.
        """
        if isinstance(self.refresh_interval, int):
            seconds = float(self.refresh_interval)
        else:
            seconds = duration.parse(self.refresh_interval) if self.refresh_interval else 0.0
        if seconds < 0:
            raise ValueError("is negative; a store's refreshInterval must be 0 or more")
        return seconds or None


class StoreStatus(Model):
    """What a store reports."""

    capabilities: str | None = Field(
        default=None, description="What the store can do: ReadOnly, WriteOnly or ReadWrite."
    )
    conditions: tuple[Condition, ...] = Field(default=(), description="Whether the store can be used.")


_COLUMNS = (
    Column("AGE", ".metadata.creationTimestamp", "date"),
    READY_REASON,
    Column("Capabilities", ".status.capabilities"),
    READY_STATUS,
)


class SecretStore(Kind):
    """A backend for the ExternalSecrets of one namespace."""

    resource: ClassVar[ResourceType] = ResourceType(
        group="external-secrets.io",
        version="v1",
        kind="SecretStore",
        plural="secretstores",
        namespaced=True,
        short_names=("ss",),
        columns=_COLUMNS,
    )

    spec: SecretStoreSpec = Field(description="What is wanted.")
    status: StoreStatus = Field(default_factory=StoreStatus, description="What is reported.")


class ClusterSecretStore(Kind):
    """A backend for the ExternalSecrets of many namespaces."""

    resource: ClassVar[ResourceType] = ResourceType(
        group="external-secrets.io",
        version="v1",
        kind="ClusterSecretStore",
        plural="clustersecretstores",
        namespaced=False,
        short_names=("css",),
        columns=_COLUMNS,
    )

    spec: SecretStoreSpec = Field(description="What is wanted.")
    status: StoreStatus = Field(default_factory=StoreStatus, description="What is reported.")


Store = SecretStore | ClusterSecretStore


def provider_name(spec: SecretStoreSpec) -> str:
    """Return the union key of a store's provider, such as "vault", also of one that we do not speak."""
    (field,) = spec.provider.model_fields_set
    return field
