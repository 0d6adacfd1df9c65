import pytest

from leasehold.domain.report import Stage
from tests.stories.town import SHOP, Town

MANAGED = "reconcile.external-secrets.io/managed"


def labels(town):
    return town.cluster.find("Secret", SHOP, "db")["metadata"].get("labels", {})


async def test_the_secret_is_written_once_and_not_again():
    town = Town()
    town.secret(refreshInterval="10s")
    op = await town.start()
    assert town.data() == {"password": "canary-first"}
    await op.after(60.0)
    assert town.writes() == 1


async def test_a_secret_without_our_label_is_looked_at_before_it_is_changed():
    town = Town()
    town.cluster.put_secret(SHOP, "db", password="theirs", other="kept?")
    town.secret()
    await town.start()
    assert town.data() == {"password": "canary-first"}  # Owner takes it over: ESO wipes what was there
    assert labels(town)[MANAGED] == "true"


@pytest.mark.parametrize(
    ("policy", "data"),
    [
        ("Merge", {"password": "canary-first", "other": "theirs"}),
        ("CreateOrMerge", {"password": "canary-first", "other": "theirs"}),
        ("Orphan", {"password": "canary-first"}),
    ],
)
async def test_what_others_put_there_stays_where_the_policy_says_so(policy, data):
    town = Town()
    town.cluster.put_secret(SHOP, "db", other="theirs")
    town.secret(target={"creationPolicy": policy})
    await town.start()
    assert town.data() == data
    assert "ownerReferences" not in town.cluster.find("Secret", SHOP, "db")["metadata"]


async def test_merge_waits_for_a_secret_that_somebody_else_makes():
    town = Town()
    town.secret(target={"creationPolicy": "Merge"}, refreshInterval="10s")
    op = await town.start()
    assert town.ready()[:2] == ("True", "SecretMissing")
    assert town.data() is None
    town.cluster.put_secret(SHOP, "db", other="theirs")
    await op.after(11.0)
    assert town.data() == {"password": "canary-first", "other": "theirs"}


async def test_nothing_is_written_with_policy_none():
    town = Town()
    town.secret(target={"creationPolicy": "None"})
    await town.start()
    assert town.ready()[:2] == ("True", "SecretSynced")
    assert (town.data(), town.writes()) == (None, 0)


async def test_a_target_of_another_external_secret_is_left_alone():
    town = Town()
    town.secret()
    await town.start()
    town.secret("second", target={"name": "db"})
    await town.op.quiet()
    status, reason, message = town.ready("second")
    assert (status, reason) == ("False", "SecretSyncedError")
    assert message.startswith(f"{Stage.OWNED.value}: it belongs to ExternalSecret db (Secret shop/db)")
    assert town.data() == {"password": "canary-first"}


async def test_a_renamed_target_leaves_no_secret_behind():
    town = Town()
    town.secret()
    await town.start()
    town.secret(target={"name": "new"})
    await town.op.quiet()
    assert town.data("new") == {"password": "canary-first"}
    assert town.data("db") is None


@pytest.mark.parametrize(
    ("policy", "left", "reason"),
    [("Delete", None, "SecretDeleted"), ("Merge", {}, "SecretSynced"), ("Retain", {"password": "canary-first"}, None)],
)
async def test_what_becomes_of_the_secret_when_the_remote_one_is_gone(policy, left, reason):
    town = Town()
    town.secret(target={"deletionPolicy": policy}, refreshInterval="10s")
    op = await town.start()
    town.vault.delete("app/db")
    await op.after(11.0)
    assert town.data() == left
    assert town.ready()[1] == (reason or "SecretSyncedError")


async def test_a_template_beyond_us_mints_nothing():
    town = Town()
    town.leased(target={"template": {"data": {"url": "{{ .password | upper }}"}}})
    await town.start()
    assert town.ready()[2].startswith(Stage.TEMPLATE.value)
    assert town.mints == 0
