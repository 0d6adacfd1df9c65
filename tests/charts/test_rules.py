"""The chart grants the table's rules and no others; the demo and the live tests apply the same table without Helm."""

from collections.abc import Callable
from typing import Any

import pytest

from tools import rbac
from tools.rbac import Scope

Object = dict[str, Any]
Render = Callable[..., list[Object]]
NAMESPACED = {"rbac": {"scope": "namespaced"}, "scopedNamespace": "payments"}
ROLES = {"Role", "ClusterRole"}


def plain(documents: list[Object]) -> dict[tuple[str, str, str], Object]:
    """Return roles, bindings and accounts by kind, namespace and name, without labels."""
    found = {}
    for document in documents:
        if document["apiVersion"].startswith("rbac.") or document["kind"] == "ServiceAccount":
            metadata = document["metadata"]
            key = (document["kind"], metadata.get("namespace", ""), metadata["name"])
            found[key] = {name: part for name, part in document.items() if name != "metadata"}
    return found


@pytest.mark.parametrize(("values", "scoped"), [({}, None), (NAMESPACED, "payments")])
def test_chart_and_manifests_grant_the_same(render: Render, values: Object, scoped: str | None) -> None:
    quiet = {**values, "rbac": {**values.get("rbac", {}), "aggregateToView": False, "aggregateToEdit": False}}
    assert plain(render(quiet)) == plain(rbac.manifests("leasehold", "leasehold", scoped))


def test_a_namespaced_installation_has_nothing_outside_of_namespaces(render: Render) -> None:
    kinds = {document["kind"] for document in render({**NAMESPACED, "crds": {"install": False}})}
    assert not {kind for kind in kinds if kind.startswith("Cluster")}
    assert "Role" in kinds


def test_the_operator_gets_no_rights_by_aggregation(render: Render) -> None:
    bound = {document["roleRef"]["name"] for document in render() if document["kind"].endswith("RoleBinding")}
    assert bound == {"leasehold", "leasehold-own"}


def test_rules_merge_without_loss() -> None:
    for scopes in ((Scope.WATCHED, Scope.CLUSTER), (Scope.WATCHED,), (Scope.OWN,)):
        wanted = {
            (rule.group, rule.resource, verb) for rule in rbac.RULES if rule.scope in scopes for verb in rule.verbs
        }
        granted = [
            (group, resource, verb)
            for rule in rbac.policy_rules(scopes, account="leasehold")
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        ]
        assert sorted(granted) == sorted(wanted)


def test_no_wildcards_and_no_escalation() -> None:
    for rule in rbac.RULES:
        assert "*" not in {rule.group, rule.resource, *rule.verbs}
        assert rule.resource.split("/", 1)[0] not in {"roles", "clusterroles", "rolebindings", "pods", "nodes"}
        assert not {"escalate", "bind", "impersonate"} & set(rule.verbs)


def test_the_right_to_its_own_token_follows_the_name_of_the_account(render: Render) -> None:
    (role,) = (
        document
        for document in render({"serviceAccount": {"name": "keeper"}})
        if document["kind"] == "Role" and document["metadata"]["name"] == "leasehold-own"
    )
    assert [rule for rule in role["rules"] if "resourceNames" in rule] == [
        {"apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": ["keeper"], "verbs": ["create"]}
    ]


def test_tokens_are_only_requested_never_read() -> None:
    assert {(rule.resource, rule.verbs) for rule in rbac.RULES if rule.resource.startswith("serviceaccounts")} == {
        ("serviceaccounts/token", ("create",))
    }
