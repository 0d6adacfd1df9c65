"""Where the values of an ExternalSecret come from: stores and generators, single keys and whole maps.

A model per shape under `spec.data` and `spec.dataFrom`; what the policies mean is decided elsewhere.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from leasehold.api.meta import Key, Model, Name, StoreKind, demand, rules, unset_in_crd

GENERATOR_KINDS = (
    "ACRAccessToken",
    "BeyondtrustWorkloadCredentialsDynamicSecret",
    "CloudsmithAccessToken",
    "ClusterGenerator",
    "ECRAuthorizationToken",
    "Fake",
    "GCRAccessToken",
    "GithubAccessToken",
    "GitlabDeployToken",
    "Grafana",
    "MFA",
    "Password",
    "QuayAccessToken",
    "SSHKey",
    "STSSessionToken",
    "UUID",
    "VaultDynamicSecret",
    "Webhook",
)
_ONE_OF: dict[str, Any] = {"minProperties": 1, "maxProperties": 1}


class MetadataPolicy(StrEnum):
    """Whether the value or its metadata is read."""

    NONE = "None"
    FETCH = "Fetch"


class ConversionStrategy(StrEnum):
    """How characters that no Secret key may have are replaced."""

    DEFAULT = "Default"
    UNICODE = "Unicode"


class DecodingStrategy(StrEnum):
    """How a value is decoded after it was read."""

    AUTO = "Auto"
    BASE64 = "Base64"
    BASE64_URL = "Base64URL"
    NONE = "None"


class NullBytePolicy(StrEnum):
    """What happens to values with null bytes."""

    IGNORE = "Ignore"
    FAIL = "Fail"


class MergePriorityPolicy(StrEnum):
    """Whether every priority key must exist."""

    STRICT = "Strict"
    IGNORE_NOT_FOUND = "IgnoreNotFound"


class MergeConflictPolicy(StrEnum):
    """What happens if two merged values have the same key."""

    ERROR = "Error"
    IGNORE = "Ignore"


class MergeStrategy(StrEnum):
    """Whether a merge gives single keys or one JSON document."""

    EXTRACT = "Extract"
    JSON = "JSON"


class StoreRef(Model):
    """A store, by name and kind."""

    name: Name | None = Field(default=None, description="Name of the store.")
    kind: StoreKind = Field(
        default=StoreKind.SECRET_STORE,
        description="Kind of the store: SecretStore if absent.",
        json_schema_extra=unset_in_crd,
    )


class GeneratorRef(Model):
    """A generator in the same namespace, or a ClusterGenerator."""

    api_version: str = Field(
        default="generators.external-secrets.io/v1alpha1", description="API version of the generator."
    )
    kind: Annotated[str, demand(enum=list(GENERATOR_KINDS))] = Field(description="Kind of the generator.")
    name: Name = Field(description="Name of the generator.")


class SourceRef(Model):
    """A source other than the default store: exactly one of its fields is set."""

    model_config = ConfigDict(json_schema_extra=_ONE_OF)

    store_ref: StoreRef | None = Field(default=None, description="Store to read from.")
    generator_ref: GeneratorRef | None = Field(
        default=None, description="Generator to run. Only dataFrom heeds it, and there without extract and find."
    )


class RemoteRef(Model):
    """One secret of a store, and how it is read."""

    key: str = Field(description="Name or path of the secret in the store.")
    property: str | None = Field(default=None, description="Field of the secret; all of it if absent.")
    version: str | None = Field(default=None, description="Version of the secret; the latest if absent.")
    metadata_policy: MetadataPolicy = Field(
        default=MetadataPolicy.NONE,
        description="Fetch reads the metadata of the secret instead of its value; None if absent.",
        json_schema_extra=unset_in_crd,
    )
    conversion_strategy: ConversionStrategy = Field(
        default=ConversionStrategy.DEFAULT,
        description="How characters that no Secret key may have are replaced: by _ (Default) or by their code point.",
        json_schema_extra=unset_in_crd,
    )
    decoding_strategy: DecodingStrategy = Field(
        default=DecodingStrategy.NONE,
        description="How the value is decoded after it was read; None if absent.",
        json_schema_extra=unset_in_crd,
    )
    null_byte_policy: NullBytePolicy = Field(
        default=NullBytePolicy.IGNORE,
        description="Whether a value with null bytes is taken (Ignore) or refused (Fail).",
        json_schema_extra=unset_in_crd,
    )


class DataItem(Model):
    """One key of the Secret, from one remote value."""

    secret_key: Key = Field(description="Key in the Secret.")
    remote_ref: RemoteRef = Field(description="The value in the store.")
    source_ref: SourceRef | None = Field(default=None, description="Source to use instead of secretStoreRef.")


class FindName(Model):
    """A match on names."""

    regexp: str | None = Field(default=None, description="Regular expression (RE2) that the name must match.")


class Find(Model):
    """All secrets of a store that match."""

    path: str | None = Field(default=None, description="Where in the store the search starts.")
    name: FindName | None = Field(default=None, description="Match by name.")
    tags: dict[str, str] = Field(default_factory=dict, description="Match by tags: all must be there.")
    conversion_strategy: ConversionStrategy = Field(
        default=ConversionStrategy.DEFAULT,
        description="How characters that no Secret key may have are replaced: by _ (Default) or by their code point.",
        json_schema_extra=unset_in_crd,
    )
    decoding_strategy: DecodingStrategy = Field(
        default=DecodingStrategy.NONE,
        description="How each value is decoded after it was read; None if absent.",
        json_schema_extra=unset_in_crd,
    )
    null_byte_policy: NullBytePolicy = Field(
        default=NullBytePolicy.IGNORE,
        description="Whether a value with null bytes is taken (Ignore) or refused (Fail).",
        json_schema_extra=unset_in_crd,
    )


class RewriteRegexp(Model):
    """Replacement in key names by a regular expression."""

    source: str = Field(description="Regular expression (RE2) to look for in each key.")
    target: str = Field(description="Replacement; $1 stands for the first group.")


class RewriteTransform(Model):
    """New key names from a template."""

    template: str = Field(description="Go template for the new key; .value is the old key.")


class RewriteMerge(Model):
    """JSON values merged into one another."""

    into: str = Field(default="", description="Key for the merged document. Needed by strategy JSON.")
    priority: tuple[str, ...] = Field(default=(), description="Keys merged last, in this order, so that they win.")
    priority_policy: MergePriorityPolicy = Field(
        default=MergePriorityPolicy.STRICT, description="Whether a priority key that is missing is an error (Strict)."
    )
    conflict_policy: MergeConflictPolicy = Field(
        default=MergeConflictPolicy.ERROR, description="Whether a key that comes twice is an error."
    )
    strategy: MergeStrategy = Field(
        default=MergeStrategy.EXTRACT, description="Extract gives each merged key, JSON one document under into."
    )


class Rewrite(Model):
    """One change to the keys of a map: exactly one of its fields is set."""

    model_config = ConfigDict(json_schema_extra=_ONE_OF)

    merge: RewriteMerge | None = Field(default=None, description="Merge JSON values.")
    regexp: RewriteRegexp | None = Field(default=None, description="Replace by regular expression.")
    transform: RewriteTransform | None = Field(default=None, description="Rename by template.")


class DataFrom(Model):
    """Many keys of the Secret, from one remote map, a search or a generator."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.extract) || has(self.find) || has(self.sourceRef)",
                "an entry of dataFrom needs extract, find or sourceRef",
            ),
            (
                (
                    "(has(self.extract) ? 1 : 0) + (has(self.find) ? 1 : 0)"
                    " + (has(self.sourceRef) && has(self.sourceRef.generatorRef) ? 1 : 0) <= 1"
                ),
                "an entry of dataFrom takes only one of extract, find and sourceRef.generatorRef; split it in two",
            ),
        )
    )

    extract: RemoteRef | None = Field(default=None, description="One secret that is a map: a key for each entry.")
    find: Find | None = Field(default=None, description="Search for secrets: a key for each hit.")
    rewrite: tuple[Rewrite, ...] = Field(default=(), description="Changes to the keys, applied in order.")
    source_ref: SourceRef | None = Field(
        default=None, description="Store to use instead of secretStoreRef, or a generator."
    )
