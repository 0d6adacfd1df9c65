"""What is kept of an object, and what of it wakes somebody."""

import copy
from typing import Any

import pytest

from leasehold.cluster import gist
from leasehold.cluster.gist import CLUSTER_STORE, EXTERNAL_SECRET, GENERATOR, STORE
from leasehold.domain import desired
from leasehold.domain.facts import Controller, Key

BODY: dict[str, Any] = {
    "metadata": {
        "name": "db",
        "namespace": "shop",
        "uid": "u",
        "generation": 1,
        "resourceVersion": "7",
        "labels": {"a": "1", "b": "2"},
        "annotations": {"x": "1"},
        "managedFields": [{"manager": "kubectl"}],
        "selfLink": "/x",
    },
    "spec": {"data": []},
    "status": {"conditions": [{"type": "Ready", "status": "True", "message": "m", "lastTransitionTime": "t"}]},
}


def marked(kind: str, **changes: Any) -> int:
    """Return the mark of the body with changed metadata, or with ``status``."""
    body = copy.deepcopy(BODY)
    if "status" in changes:
        body["status"] = changes.pop("status")
    body["metadata"] |= changes
    return gist.mark(kind, gist.slim(body))


def test_slim_keeps_what_is_read() -> None:
    slimmed = gist.slim(BODY)
    assert set(slimmed) == {"metadata", "spec", "status"}
    assert "managedFields" not in slimmed["metadata"]
    assert slimmed["metadata"]["labels"] == {"a": "1", "b": "2"}
    assert gist.slim({"metadata": {"name": "x"}}) == {"metadata": {"name": "x"}, "spec": {}, "status": {}}


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 2},
        {"labels": {"a": "1"}},
        {"annotations": {"x": "2"}},
        {"finalizers": ["f"]},
        {"deletionTimestamp": "2026-01-01T00:00:00Z"},
    ],
)
@pytest.mark.parametrize("kind", [EXTERNAL_SECRET, STORE, GENERATOR])
def test_what_a_user_changes_wakes(kind: str, change: dict[str, Any]) -> None:
    assert marked(kind, **change) != marked(kind)


@pytest.mark.parametrize("change", [{"resourceVersion": "8"}, {"labels": {"b": "2", "a": "1"}}, {"managedFields": []}])
@pytest.mark.parametrize("kind", [EXTERNAL_SECRET, STORE, GENERATOR])
def test_an_echo_does_not(kind: str, change: dict[str, Any]) -> None:
    assert marked(kind, **change) == marked(kind)


FLIPPED = {"conditions": [{"type": "Ready", "status": "False"}]}
REWORDED = {"conditions": [{"type": "Ready", "status": "True", "message": "other", "reason": "r"}]}


@pytest.mark.parametrize("kind", [STORE, CLUSTER_STORE])
def test_the_readiness_of_a_store_wakes_and_its_message_does_not(kind: str) -> None:
    assert marked(kind, status=FLIPPED) != marked(kind)
    assert marked(kind, status={}) != marked(kind)
    assert marked(kind, status=REWORDED) == marked(kind)


@pytest.mark.parametrize("status", [FLIPPED, {}, {"refreshTime": "t"}])
def test_the_status_of_an_external_secret_does_not_wake(status: dict[str, Any]) -> None:
    assert marked(EXTERNAL_SECRET, status=status) == marked(EXTERNAL_SECRET)


def test_references_name_every_store_and_generator_once() -> None:
    spec = {
        "secretStoreRef": {"name": "main"},
        "data": [
            {"secretKey": "a", "remoteRef": {"key": "a"}},
            {"secretKey": "b", "sourceRef": {"storeRef": {"name": "shared", "kind": "ClusterSecretStore"}}},
            {"secretKey": "c", "sourceRef": {"storeRef": {"name": "main", "kind": "SecretStore"}}},
        ],
        "dataFrom": [
            {"extract": {"key": "x"}},
            {"sourceRef": {"generatorRef": {"kind": "VaultDynamicSecret", "name": "creds"}}},
        ],
    }
    assert gist.references("shop", spec) == (
        Key(STORE, "shop", "main"),
        Key(CLUSTER_STORE, "", "shared"),
        Key(GENERATOR, "shop", "creds"),
    )


@pytest.mark.parametrize(
    "spec", [{}, {"secretStoreRef": None, "data": None, "dataFrom": None}, {"secretStoreRef": {}, "data": [{}]}]
)
def test_a_spec_that_names_nothing(spec: dict[str, Any]) -> None:
    assert gist.references("shop", spec) == ()


def test_a_target_is_metadata_only() -> None:
    owners = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "o"},
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "name": "db",
            "uid": "u",
            "controller": True,
        },
    ]
    target = gist.target_of(
        {
            "uid": "t",
            "resourceVersion": "9",
            "labels": {desired.LABEL_MANAGED: "true", desired.LABEL_CREATED_BY: "c"},
            "annotations": {desired.ANNOTATION_HASH: "h"},
            "ownerReferences": owners,
            "deletionTimestamp": "2026-01-01T00:00:00Z",
        }
    )
    assert (target.uid, target.resource_version, target.data_hash, target.created_by) == ("t", "9", "h", "c")
    assert target.managed
    assert target.deleting
    assert target.controller == Controller("external-secrets.io", "ExternalSecret", "db", "u")


def test_a_bare_target() -> None:
    target = gist.target_of({"uid": "t", "resourceVersion": "9", "labels": None, "annotations": None})
    assert not target.managed
    assert not target.deleting
    assert target.controller is None
    core = gist.target_of({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "controller": True}]})
    assert core.controller == Controller("", "Pod", "", "")


@pytest.mark.parametrize(
    ("seen", "known", "old"),
    [("8", "9", True), ("9", "9", False), ("10", "9", False), ("a", "9", False), ("8", "", False)],
)
def test_an_earlier_version_is_known_by_its_number(seen: str, known: str, old: bool) -> None:
    def target(version: str, uid: str = "t") -> Any:
        return gist.target_of({"uid": uid, "resourceVersion": version})

    assert gist.outdated(target(seen), target(known)) is old
    assert not gist.outdated(target(seen, uid="another object"), target(known))
