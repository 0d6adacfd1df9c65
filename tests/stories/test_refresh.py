"""When values are read again, and what an edit of the ExternalSecret or of the Secret sets going."""

import base64
from typing import Any

import pytest

from leasehold.domain import desired
from tests.stories.crashes import crash_at
from tests.stories.town import HOUR, SHOP, Town

GOOD = {"password": "canary-first"}
SECOND = {"password": "canary-second"}
USER = [{"secretKey": "user", "remoteRef": {"key": "app/db", "property": "username"}}]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


INTERVALS = [
    # spec, reads in three hours after the first, follows a changed remote value, follows a changed spec
    ({"refreshInterval": "1h"}, 3, True, True),
    ({"refreshInterval": "30m", "refreshPolicy": "Periodic"}, 6, True, True),
    ({"refreshInterval": "0s"}, 0, False, False),
    ({"refreshInterval": "-1m"}, 0, False, False),
    ({"refreshInterval": "1m", "refreshPolicy": "OnChange"}, 0, False, True),
    ({"refreshInterval": "1m", "refreshPolicy": "CreatedOnce"}, 0, False, False),
    ({}, 3, True, True),
]


@pytest.mark.parametrize(("spec", "reads", "remote", "edit"), INTERVALS)
async def test_policies_and_intervals(
    town: Town, spec: dict[str, Any], reads: int, remote: object, edit: object
) -> None:
    town.secret(**spec)
    op = await town.start()
    assert (town.data(), town.reads) == (GOOD, 1)
    town.vault.put("app/db", SECOND | {"username": "canary-user"})
    await op.after(3 * HOUR + 1.0)
    assert town.reads == 1 + reads
    assert town.data() == (SECOND if remote else GOOD)
    assert town.writes() == (2 if remote else 1)
    before = town.data()
    town.secret(data=USER, **spec)
    await op.after(30.0)
    assert town.data() == ({"user": "canary-user"} if edit else before)


@pytest.mark.parametrize("policy", ["CreatedOnce", "OnChange", "Periodic"])
async def test_drift_is_repaired_whatever_the_refresh_policy(town: Town, policy: str) -> None:
    town.secret(refreshPolicy=policy, refreshInterval="0s")
    op = await town.start()
    town.edit("Secret", "db", lambda body: body["data"].update(password=encoded("canary-hand")))
    await op.quiet()
    assert town.data() == GOOD
    town.cluster.remove("Secret", SHOP, "db")
    await op.quiet()
    assert town.data() == GOOD
    assert town.reasons().count("Repaired") >= 1


@pytest.mark.parametrize(("policy", "read"), [("Periodic", True), ("OnChange", True), ("CreatedOnce", False)])
async def test_force_sync_reads_at_once(town: Town, policy: str, read: object) -> None:
    town.secret(refreshPolicy=policy)
    op = await town.start()
    town.vault.put("app/db", SECOND)
    town.annotate(**{"external-secrets.io/force-sync": "1"})
    await op.quiet()
    assert town.data() == (SECOND if read else GOOD)
    reads = town.reads
    await op.after(600.0)
    assert town.reads == reads


DRIFTS = {
    "a value": lambda body: body["data"].update(password=encoded("canary-hand")),
    "a key more": lambda body: body["data"].update(extra=encoded("canary-hand")),
    "a key less": lambda body: body["data"].clear(),
    "the hash": lambda body: body["metadata"]["annotations"].update({desired.ANNOTATION_HASH: "x"}),
    "a value that fights": lambda body: body["data"].update(password=encoded("canary-fight")),
}


@pytest.mark.parametrize("drift", DRIFTS)
async def test_an_edit_by_hand_costs_one_write_and_no_status(town: Town, drift: str) -> None:
    town.secret()
    op = await town.start()
    good = town.cluster.find("Secret", SHOP, "db") or {}
    town.edit("Secret", "db", DRIFTS[drift])
    town.cluster.calls.clear()
    await op.quiet()
    live = town.cluster.find("Secret", SHOP, "db") or {}
    assert live["data"] == good["data"]
    for field in ("labels", "annotations", "ownerReferences"):
        assert live["metadata"][field] == good["metadata"][field]
    assert (town.writes(), town.writes("externalsecrets/status")) == (1, 0)
    await op.after(600.0)
    assert town.writes() == 1


async def test_somebody_who_fights_is_answered_and_not_stormed(town: Town) -> None:
    town.secret()
    op = await town.start()
    for _ in range(20):
        town.edit("Secret", "db", DRIFTS["a value that fights"])
        await op.after(1.0)
        assert town.data() == GOOD
    assert town.writes() <= 21
    assert town.reads <= 21


async def test_a_managed_label_that_is_taken_away_is_put_back_and_the_owner_kept(town: Town) -> None:
    town.secret(refreshInterval="60s")
    op = await town.start()
    town.edit("Secret", "db", lambda body: body["metadata"]["labels"].clear())
    await op.after(61.0)
    labels = (town.cluster.find("Secret", SHOP, "db") or {})["metadata"]["labels"]
    assert labels == {desired.LABEL_MANAGED: "true", desired.LABEL_CREATED_BY: desired.created_by(SHOP, "db")}


async def test_foreign_labels_stay_and_our_own_follow(town: Town) -> None:
    town.secret(target={"template": {"metadata": {"labels": {"ours": "1"}}}})
    op = await town.start()
    town.edit("Secret", "db", lambda body: body["metadata"]["labels"].update(theirs="2"))
    await op.quiet()
    town.secret(target={"template": {"metadata": {"labels": {"new": "3"}}}})
    await op.quiet()
    labels = (town.cluster.find("Secret", SHOP, "db") or {})["metadata"]["labels"]
    assert {"theirs": "2", "new": "3"}.items() <= labels.items()
    assert "ours" not in labels


@pytest.mark.parametrize("policy", ["Owner", "Orphan", "CreateOrMerge"])
async def test_a_renamed_target_leaves_an_old_secret_only_where_it_is_not_owned(town: Town, policy: str) -> None:
    town.secret(target={"creationPolicy": policy})
    op = await town.start()
    town.secret(target={"creationPolicy": policy, "name": "renamed"})
    await op.quiet()
    assert (town.data("renamed"), town.data()) == (GOOD, None if policy == "Owner" else GOOD)
    assert ("Deleted" in town.reasons()) is (policy == "Owner")
    assert town.shown()["binding"] == {"name": "renamed"}
    await op.after(60.0)
    assert town.ready() == ("True", "SecretSynced", "secret synced")


async def test_a_rename_that_cannot_delete_says_so_and_heals(town: Town) -> None:
    town.secret()
    op = await town.start()
    right = town.cluster.deny("delete", "secrets")
    town.secret(target={"name": "renamed"})
    await op.quiet()
    assert town.ready()[2].startswith("could not delete orphaned secrets: ")
    assert "delete secrets" in town.ready()[2]
    assert (town.data("renamed"), town.data()) == (GOOD, GOOD)
    right.lift()
    await op.after(HOUR)
    assert (town.ready()[0], town.data()) == ("True", None)


@pytest.mark.parametrize(("before", "after"), [("Owner", "Orphan"), ("Orphan", "Owner"), ("Owner", "Merge")])
async def test_ownership_follows_the_policy(town: Town, before: str, after: str) -> None:
    town.secret(target={"creationPolicy": before})
    op = await town.start()
    town.secret(target={"creationPolicy": after})
    await op.quiet()
    metadata = (town.cluster.find("Secret", SHOP, "db") or {})["metadata"]
    owned = after == "Owner"
    assert bool(metadata.get("ownerReferences")) is owned
    assert (desired.LABEL_CREATED_BY in metadata["labels"]) is owned
    town.cluster.remove("ExternalSecret", SHOP, "db")
    await op.after(60.0)
    assert town.data() == (None if owned else GOOD)


async def test_an_external_secret_made_anew_takes_its_secret_over(town: Town) -> None:
    town.secret()
    op = await town.start()
    town.cluster.remove("ExternalSecret", SHOP, "db", collect=False)
    town.secret()
    await op.quiet()
    owner = (town.cluster.find("Secret", SHOP, "db") or {})["metadata"]["ownerReferences"]
    uid = (town.cluster.find("ExternalSecret", SHOP, "db") or {})["metadata"]["uid"]
    assert [ref["uid"] for ref in owner] == [uid]
    assert town.ready()[0] == "True"


async def test_a_changed_store_is_followed_at_the_next_refresh(town: Town) -> None:
    town.vault.mount("other", "kv", version=2)
    town.vault.kubernetes["reader"].paths += ("other/*",)
    town.vault.put("app/db", SECOND, mount="other")
    town.secret(refreshInterval="5m")
    op = await town.start()
    town.store(provider=town.provider(path="other"))
    await op.after(301.0)
    assert (town.data(), town.ready()[0]) == (SECOND, "True")


@pytest.mark.parametrize("kind", ["before", "after"])
async def test_a_crash_at_any_request_of_a_sync_is_made_up_for(town: Town, kind: str) -> None:
    nth, reached = 0, True
    while reached:
        other = Town(errors=town.errors, logs=town.logs)
        other.secret()
        await other.boot()
        reached = await crash_at(other, f"{kind} kube", nth, other.op.quiet)
        await other.op.after(60.0)
        assert (other.data(), other.ready()) == (GOOD, ("True", "SecretSynced", "secret synced")), nth
        assert other.writes() <= 2
        other.close()
        nth += 1
    assert nth > 1
