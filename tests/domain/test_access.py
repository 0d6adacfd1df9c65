import pytest

from leasehold.api.meta import LabelSelector
from leasehold.domain import access
from leasehold.domain.errors import Misconfigured
from tests.worlds.objects import cluster_store

LABELS = {"team": "shop", "tier": "gold"}


@pytest.mark.parametrize(
    ("controller", "ours", "result"),
    [
        (None, "default", True),
        ("", "default", True),
        ("default", "default", True),
        ("other", "default", False),
        ("default", "leasehold", False),
        (None, "leasehold", True),
    ],
)
def test_controller_classes(controller, ours, result):
    assert access.of_class(controller, ours) is result


def selects_team(**selector):
    return {"namespaceSelector": selector}


@pytest.mark.parametrize(
    ("conditions", "result"),
    [
        ([], True),
        ([{"namespaces": ["shop"]}], True),
        ([{"namespaces": ["sho", "shop-2"]}], False),
        ([{"namespaces": ["other"]}, {"namespaces": ["shop"]}], True),
        ([{"namespaceRegexes": ["ho"]}], True),  # unanchored
        ([{"namespaceRegexes": ["^ho"]}], False),
        ([selects_team(matchLabels={"team": "shop"})], True),
        ([selects_team(matchLabels={"team": "shop", "tier": "silver"})], False),
        ([selects_team()], True),  # an empty selector matches everything
        ([{"namespaces": ["other"], "namespaceRegexes": ["^shop$"]}], True),  # any part suffices
        ([selects_team(matchLabels={"team": "x"}), {"namespaces": ["shop"]}], True),
        ([{}], False),
    ],
)
def test_conditions_of_a_cluster_store(conditions, result):
    assert access.allowed(cluster_store(conditions=conditions).spec, "shop", LABELS) is result


def test_labels_that_are_not_known_match_nothing_that_is_asked_for():
    spec = cluster_store(conditions=[selects_team(matchLabels={"team": "shop"})]).spec
    assert not access.allowed(spec, "shop", None)


def test_a_regular_expression_that_cannot_be_read_is_a_mistake_of_the_store():
    spec = cluster_store(conditions=[{"namespaceRegexes": ["("]}]).spec
    with pytest.raises(Misconfigured, match="invalid regular expression"):
        access.allowed(spec, "shop", LABELS)


def need(operator, *wanted, key="team"):
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(wanted)}]}


@pytest.mark.parametrize(
    ("selector", "result"),
    [
        ({}, True),
        (need("In", "shop", "x"), True),
        (need("In", "x"), False),
        (need("In", "x", key="absent"), False),
        (need("NotIn", "x"), True),
        (need("NotIn", "shop"), False),
        (need("NotIn", "x", key="absent"), True),
        (need("Exists"), True),
        (need("Exists", key="absent"), False),
        (need("DoesNotExist", key="absent"), True),
        (need("DoesNotExist"), False),
        (need("Unheard"), False),
        ({"matchLabels": {"team": "shop"}, **need("Exists", key="absent")}, False),
    ],
)
def test_label_selectors(selector, result):
    assert access.selects(LabelSelector.model_validate(selector), LABELS) is result
