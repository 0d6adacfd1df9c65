import pytest

from leasehold.api.meta import StoreKind
from leasehold.api.sources import (
    ConversionStrategy,
    DataFrom,
    DecodingStrategy,
    MetadataPolicy,
    NullBytePolicy,
    RemoteRef,
    Rewrite,
    StoreRef,
)


def test_an_absent_store_kind_is_the_namespaced_one():
    assert StoreRef.model_validate({"name": "a"}).kind is StoreKind.SECRET_STORE


def test_absent_policies_are_the_plain_ones():
    ref = RemoteRef.model_validate({"key": "a"})
    assert ref.metadata_policy is MetadataPolicy.NONE
    assert ref.conversion_strategy is ConversionStrategy.DEFAULT
    assert ref.decoding_strategy is DecodingStrategy.NONE
    assert ref.null_byte_policy is NullBytePolicy.IGNORE


@pytest.mark.parametrize("field", ["metadataPolicy", "conversionStrategy", "decodingStrategy", "nullBytePolicy"])
def test_policies_are_exact_words(field):
    with pytest.raises(ValueError, match=field):
        RemoteRef.model_validate({"key": "a", field: "none"})


def test_a_generator_has_the_usual_api_version():
    source = DataFrom.model_validate({"sourceRef": {"generatorRef": {"kind": "Password", "name": "p"}}}).source_ref
    assert source is not None
    assert source.generator_ref is not None
    assert source.generator_ref.api_version == "generators.external-secrets.io/v1alpha1"


def test_rewrites_keep_their_order():
    raw = [{"regexp": {"source": "a", "target": "b"}}, {"transform": {"template": "t"}}, {"merge": {}}]
    found = DataFrom.model_validate({"extract": {"key": "a"}, "rewrite": raw}).rewrite
    assert [next(iter(step.model_fields_set)) for step in found] == ["regexp", "transform", "merge"]


def test_merge_has_the_defaults_of_eso():
    merge = Rewrite.model_validate({"merge": {}}).merge
    assert merge is not None
    assert merge.to_wire() == {
        "into": "",
        "priority": [],
        "priorityPolicy": "Strict",
        "conflictPolicy": "Error",
        "strategy": "Extract",
    }
