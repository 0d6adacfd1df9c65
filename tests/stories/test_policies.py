"""creationPolicy and deletionPolicy: a Secret that is there, is missing, drifts, or loses its source."""

from typing import Any

import pytest

from leasehold.domain import desired
from tests.stories.town import SHOP, Town

OURS = {"password": "canary-first"}
FOREIGN = {"theirs": "canary-theirs"}
NONE: dict[str, str] | None = None

CREATION = {
    # policy: Secret where none was, Secret where a foreign one was, owner reference, after its ExternalSecret is gone
    "Owner": (OURS, OURS, True, NONE),
    "Orphan": (OURS, OURS, False, OURS),
    "Merge": (NONE, FOREIGN | OURS, False, NONE),
    "CreateOrMerge": (OURS, FOREIGN | OURS, False, OURS),
    "None": (NONE, FOREIGN, False, NONE),
}


def target(creation: str = "Owner", deletion: str = "Retain", **more: Any) -> dict[str, Any]:
    return {"creationPolicy": creation, "deletionPolicy": deletion, **more}


@pytest.mark.parametrize("policy", CREATION)
async def test_where_no_secret_was(town: Town, policy: str) -> None:
    made, _, owned, left = CREATION[policy]
    town.secret(target=target(policy))
    op = await town.start()
    assert town.data() == made
    if policy == "Merge":
        assert town.ready() == ("True", "SecretMissing", "secret will not be created due to CreationPolicy=Merge")
    else:
        assert town.ready() == ("True", "SecretSynced", "secret synced")
    assert town.shown().get("binding") == ({"name": "db"} if made else None)
    body = town.cluster.find("Secret", SHOP, "db")
    assert bool(body and body["metadata"].get("ownerReferences")) is owned
    assert bool(body and desired.LABEL_CREATED_BY in body["metadata"]["labels"]) is owned
    town.cluster.remove("ExternalSecret", SHOP, "db")
    await op.after(600.0)
    assert town.data() == left


@pytest.mark.parametrize("policy", CREATION)
async def test_where_a_foreign_secret_was(town: Town, policy: str) -> None:
    town.cluster.put_secret(SHOP, "db", **FOREIGN)
    town.secret(target=target(policy))
    await town.start()
    assert town.data() == CREATION[policy][1]
    assert town.ready() == ("True", "SecretSynced", "secret synced")
    assert town.writes("externalsecrets/status") == 1
    body = town.cluster.find("Secret", SHOP, "db")
    assert body is not None
    if policy != "None":
        assert body["metadata"]["labels"][desired.LABEL_MANAGED] == "true"


@pytest.mark.parametrize(
    ("policy", "repaired", "recreated"),
    [("Owner", True, True), ("Orphan", False, True), ("Merge", True, False), ("CreateOrMerge", True, True)],
)
async def test_drift_is_repaired_at_once_and_costs_no_status(
    town: Town,
    policy: str,
    repaired: bool,
    recreated: bool,  # a table of outcomes
) -> None:
    if policy == "Merge":
        town.cluster.put_secret(SHOP, "db", **FOREIGN)
    town.secret(target=target(policy))
    op = await town.start()
    good, status = town.data(), town.writes("externalsecrets/status")
    town.edit("Secret", "db", lambda body: body["data"].update(password="Y2FuYXJ5"))
    await op.quiet()
    assert town.data() == (good if repaired else {"password": "canary"})
    assert town.writes("externalsecrets/status") == status
    town.cluster.remove("Secret", SHOP, "db")
    await op.quiet()
    assert town.data() == (OURS if recreated else None)
    await op.after(2 * 3600.0)
    assert town.data() == (OURS if recreated else None)
    if not recreated:
        assert town.ready()[:2] == ("True", "SecretMissing")


async def test_a_missing_merge_target_is_found_when_somebody_makes_it(town: Town) -> None:
    town.secret(target=target("Merge"), refreshInterval="60s")
    op = await town.start()
    town.cluster.put_secret(SHOP, "db", **FOREIGN)
    await op.after(61.0)
    assert town.data() == FOREIGN | OURS
    assert town.ready() == ("True", "SecretSynced", "secret synced")


GONE = {
    # creation, deletion -> Ready after the only source is gone, and the Secret
    ("Owner", "Retain"): ("False", "SecretSyncedError", "could not get secret data from provider: ", OURS),
    ("Owner", "Delete"): ("True", "SecretDeleted", "secret deleted due to DeletionPolicy=Delete", None),
    ("Owner", "Merge"): ("True", "SecretSynced", "secret synced", {}),
    ("Orphan", "Retain"): ("False", "SecretSyncedError", "could not get secret data from provider: ", OURS),
    ("Orphan", "Delete"): ("False", "SecretSyncedError", "could not delete secret: ", OURS),
    ("Orphan", "Merge"): ("True", "SecretSynced", "secret synced", {}),
    ("Merge", "Retain"): ("False", "SecretSyncedError", "could not get secret data from provider: ", FOREIGN | OURS),
    ("Merge", "Delete"): ("False", "SecretSyncedError", "could not delete secret: ", FOREIGN | OURS),
    ("Merge", "Merge"): ("True", "SecretSynced", "secret synced", FOREIGN),
    ("CreateOrMerge", "Retain"): ("False", "SecretSyncedError", "could not get secret data", FOREIGN | OURS),
    ("CreateOrMerge", "Delete"): ("False", "SecretSyncedError", "could not delete secret: ", FOREIGN | OURS),
    ("CreateOrMerge", "Merge"): ("True", "SecretSynced", "secret synced", FOREIGN),
}


@pytest.mark.parametrize(("creation", "deletion"), GONE)
async def test_where_the_source_is_gone_and_comes_back(town: Town, creation: str, deletion: str) -> None:
    status, reason, message, left = GONE[creation, deletion]
    merges = creation in ("Merge", "CreateOrMerge")
    if merges:
        town.cluster.put_secret(SHOP, "db", **FOREIGN)
    town.secret(target=target(creation, deletion), refreshInterval="60s", dataFrom=[{"extract": {"key": "app/db"}}])
    town.vault.put("app/db", OURS)
    op = await town.start()
    assert town.data() == (FOREIGN | OURS if merges else OURS)
    town.vault.delete("app/db")
    await op.after(61.0)
    assert town.data() == left
    assert town.ready()[:2] == (status, reason)
    assert town.ready()[2].startswith(message)
    assert ("MissingProviderSecret" in town.reasons()) is (deletion != "Retain")
    town.vault.put("app/db", {"password": "canary-second"})
    await op.after(600.0)
    assert town.data() == (FOREIGN if merges else {}) | {"password": "canary-second"}
    assert town.ready() == ("True", "SecretSynced", "secret synced")


@pytest.mark.parametrize(("deletion", "kept"), [("Retain", True), ("Delete", False), ("Merge", False)])
async def test_one_missing_key_of_two_vanishes_only_where_the_policy_lets_it(
    town: Town,
    deletion: str,
    kept: bool,  # a table of outcomes
) -> None:
    town.vault.put("app/other", {"token": "canary-token"})
    both = [
        {"secretKey": "password", "remoteRef": {"key": "app/db", "property": "password"}},
        {"secretKey": "token", "remoteRef": {"key": "app/other", "property": "token"}},
    ]
    town.secret(data=both, target=target("Owner", deletion), refreshInterval="60s")
    op = await town.start()
    town.vault.delete("app/other")
    await op.after(61.0)
    assert town.data() == (OURS | {"token": "canary-token"} if kept else OURS)
    assert town.ready()[0] == ("False" if kept else "True")
    assert ("app/other" in town.ready()[2]) is kept


@pytest.mark.parametrize("deletion", ["Retain", "Delete", "Merge"])
async def test_an_owned_secret_goes_with_its_external_secret(town: Town, deletion: str) -> None:
    town.secret(target=target("Owner", deletion))
    op = await town.start()
    town.cluster.remove("ExternalSecret", SHOP, "db")
    await op.after(60.0)
    assert town.data() is None
    assert op.due("ExternalSecret", SHOP, "db") is None
