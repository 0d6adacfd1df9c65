"""What an ExternalSecret makes: the Secret, who owns it, and the template that shapes it."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from leasehold.api.meta import Flag, Key, Model, Name, demand, rules, unset_in_crd

_TEMPLATE_RULES = rules(
    (
        "!has(self.type) || self.type != 'bootstrap.kubernetes.io/token'",
        "type bootstrap.kubernetes.io/token is refused: such a Secret lets its holder join the cluster",
    ),
    (
        (
            "!has(self.type) || self.type != 'kubernetes.io/service-account-token'"
            " || ((!has(self.metadata) || !has(self.metadata.annotations)"
            " || !('kubernetes.io/service-account.name' in self.metadata.annotations))"
            " && (!has(self.templateFrom)"
            " || self.templateFrom.all(t, !has(t.target) || t.target.lowerAscii() != 'annotations')))"
        ),
        (
            "type kubernetes.io/service-account-token cannot be combined with the annotation"
            " kubernetes.io/service-account.name or with templateFrom target Annotations:"
            " the Secret would receive that account's token"
        ),
    ),
)


class CreationPolicy(StrEnum):
    """Who creates the target and whose it is."""

    OWNER = "Owner"
    ORPHAN = "Orphan"
    MERGE = "Merge"
    NONE = "None"
    CREATE_OR_MERGE = "CreateOrMerge"


class DeletionPolicy(StrEnum):
    """What happens to the target when the remote secrets are gone."""

    DELETE = "Delete"
    MERGE = "Merge"
    RETAIN = "Retain"


class TemplateMergePolicy(StrEnum):
    """Whether templated keys replace the fetched ones or join them."""

    REPLACE = "Replace"
    MERGE = "Merge"


class TemplateScope(StrEnum):
    """Whether a template text is one value, or a YAML map of keys and values."""

    VALUES = "Values"
    KEYS_AND_VALUES = "KeysAndValues"


class ValuesDecodingStrategy(StrEnum):
    """How rendered values are decoded."""

    AUTO = "Auto"
    BASE64 = "Base64"
    BASE64_URL = "Base64URL"
    NONE = "None"


class TemplateRefItem(Model):
    """One key of the object that holds templates."""

    key: Key = Field(description="Key in the ConfigMap or Secret; also the key in the result for Values.")
    template_as: TemplateScope = Field(
        default=TemplateScope.VALUES,
        description="Values: the text is the template of one value. KeysAndValues: it renders to a YAML map.",
    )


class TemplateRef(Model):
    """An object in the same namespace that holds templates."""

    name: Name = Field(description="Name of the ConfigMap or Secret.")
    items: tuple[TemplateRefItem, ...] = Field(description="Keys to use, in this order.")


class TemplateFrom(Model):
    """Templates kept elsewhere, or one literal text."""

    config_map: TemplateRef | None = Field(default=None, description="Templates in a ConfigMap.")
    secret: TemplateRef | None = Field(default=None, description="Templates in a Secret.")
    literal: str | None = Field(
        default=None, repr=False, description="A template that renders to a YAML map of keys and values."
    )
    target: Annotated[str, demand(maxLength=1024)] = Field(
        default="Data",
        description="Where the result goes: Data, Annotations or Labels (case does not matter); for a target that is"
        " no Secret, a dotted path. At most 1024 characters.",
    )
    values_decoding_strategy: ValuesDecodingStrategy | None = Field(
        default=None, description="How rendered values are decoded before they are written."
    )


class TemplateMetadata(Model):
    """Metadata of the target."""

    annotations: dict[str, str] = Field(
        default_factory=dict, description="Annotations of the target; values are templates."
    )
    labels: dict[str, str] = Field(default_factory=dict, description="Labels of the target; values are templates.")
    finalizers: tuple[str, ...] = Field(default=(), description="Finalizers added to the target.")


class Template(Model):
    """The shape of the target."""

    model_config = ConfigDict(json_schema_extra=_TEMPLATE_RULES)

    type: str | None = Field(default=None, description="Type of the Secret, such as kubernetes.io/tls.")
    engine_version: Literal["v2"] = Field(default="v2", description="Version of the template engine.")
    metadata: TemplateMetadata | None = Field(default=None, description="Metadata of the target.")
    merge_policy: TemplateMergePolicy = Field(
        default=TemplateMergePolicy.REPLACE,
        description="Replace keeps templated keys only; Merge keeps fetched keys beside them.",
    )
    data: dict[str, str] = Field(default_factory=dict, repr=False, description="One template for each key.")
    template_from: tuple[TemplateFrom, ...] = Field(
        default=(),
        description="Further templates, applied in order, before data. At most 1024.",
        json_schema_extra={"maxItems": 1024},
    )


class Manifest(Model):
    """The kind of a target that is no Secret."""

    api_version: Annotated[str, demand(minLength=1)] = Field(description="API version of the target, such as v1.")
    kind: Annotated[str, demand(minLength=1)] = Field(description="Kind of the target, such as ConfigMap.")


class Target(Model):
    """The Secret that an ExternalSecret makes."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "!has(self.deletionPolicy) || self.deletionPolicy != 'Delete' || !has(self.creationPolicy)"
                    " || !(self.creationPolicy in ['Merge', 'None', 'CreateOrMerge'])"
                ),
                "deletionPolicy Delete needs a target of our own: use creationPolicy Owner or Orphan",
            ),
            (
                (
                    "!has(self.deletionPolicy) || self.deletionPolicy != 'Merge' || !has(self.creationPolicy)"
                    " || self.creationPolicy != 'None'"
                ),
                "deletionPolicy Merge has nothing to work on with creationPolicy None",
            ),
            (
                (
                    "has(self.manifest) || !has(self.template) || !has(self.template.templateFrom)"
                    " || self.template.templateFrom.all(t, !has(t.target)"
                    " || t.target.lowerAscii() in ['', 'data', 'annotations', 'labels'])"
                ),
                "templateFrom target of a Secret must be Data, Annotations or Labels",
            ),
        )
    )

    name: Name | None = Field(default=None, description="Name of the Secret; the ExternalSecret's own if absent.")
    creation_policy: CreationPolicy = Field(
        default=CreationPolicy.OWNER,
        description="Owner: created, owned, removed with the ExternalSecret. Orphan: created, not owned. Merge: keys"
        " are put into an existing Secret. CreateOrMerge: created or merged into. None: nothing is written.",
    )
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RETAIN,
        description="What happens when the remote secrets are gone: Delete the Secret, Merge (only our keys go),"
        " Retain it.",
    )
    template: Template | None = Field(default=None, description="Shape of the Secret.")
    manifest: Manifest | None = Field(default=None, description="Kind of a target that is no Secret.")
    immutable: Flag = Field(
        default=False,
        description="Whether the Secret is made immutable.",
        json_schema_extra=unset_in_crd,
    )
