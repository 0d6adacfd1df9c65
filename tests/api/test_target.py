import pytest

from leasehold.api.target import CreationPolicy, Target, Template, TemplateFrom, TemplateMergePolicy, TemplateScope


@pytest.mark.parametrize("policy", ["Owner", "Orphan", "Merge", "None", "CreateOrMerge"])
def test_creation_policies(policy):
    assert Target.model_validate({"creationPolicy": policy}).creation_policy == CreationPolicy(policy)


def test_a_template_has_the_defaults_of_eso():
    template = Template.model_validate({})
    assert template.engine_version == "v2"
    assert template.merge_policy is TemplateMergePolicy.REPLACE
    source = TemplateFrom.model_validate({"configMap": {"name": "c", "items": [{"key": "k"}]}})
    assert source.target == "Data"
    assert source.config_map is not None
    assert source.config_map.items[0].template_as is TemplateScope.VALUES


def test_the_old_template_engine_is_refused():
    with pytest.raises(ValueError, match="engineVersion"):
        Template.model_validate({"engineVersion": "v1"})


def test_template_texts_stay_out_of_reprs():
    canary = "correct horse battery staple"
    template = Template.model_validate({"data": {"k": canary}, "templateFrom": [{"literal": canary}]})
    assert canary not in repr(template)
    assert canary not in str(template)
