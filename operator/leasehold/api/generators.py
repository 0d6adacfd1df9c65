"""Generators: kinds that make values instead of reading them (generators.external-secrets.io/v1alpha1)."""

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from leasehold.api.meta import Anything, Flag, Kind, Model, ResourceType, RetrySettings
from leasehold.api.stores.vault import VaultProvider

GROUP = "generators.external-secrets.io"
VERSION = "v1alpha1"
CATEGORIES = ("external-secrets", "external-secrets-generators")


class VaultResultType(StrEnum):
    """Which part of Vault's answer becomes the result."""

    DATA = "Data"
    AUTH = "Auth"
    RAW = "Raw"


class VaultDynamicSecretSpec(Model):
    """A path of Vault that makes credentials, and how it is asked."""

    controller: str | None = Field(
        default=None, description="Class of the operator that answers for this object; any if absent."
    )
    path: str = Field(description="Path that makes the credentials, such as database/creds/app.")
    method: str | None = Field(default=None, description="HTTP method: GET if absent.")
    parameters: Anything = Field(default=None, repr=False, description="Body of the request, any JSON value.")
    get_parameters: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, repr=False, description="Query parameters of a GET request."
    )
    result_type: VaultResultType = Field(
        default=VaultResultType.DATA,
        description="Part of the answer that is used: Data, Auth (the token of a login) or Raw (all of it).",
    )
    allow_empty_response: Flag = Field(default=False, description="Whether an answer without content is a success.")
    provider: VaultProvider = Field(description="The Vault server and the login.")
    retry_settings: RetrySettings | None = Field(default=None, description="Repetition of failed calls.")


class VaultDynamicSecret(Kind):
    """Makes credentials with a dynamic secrets engine of Vault."""

    resource: ClassVar[ResourceType] = ResourceType(
        group=GROUP,
        version=VERSION,
        kind="VaultDynamicSecret",
        plural="vaultdynamicsecrets",
        namespaced=True,
        categories=CATEGORIES,
    )

    spec: VaultDynamicSecretSpec = Field(description="What is wanted.")
