"""Bad input: what is wrong is said in ESO's words with object, path and remedy; the last good Secret stays; mending
is enough.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.stories.town import HOUR, READER_PATHS, SHOP, Town
from tests.worlds.vault_tokens import Role

FETCH = "could not get secret data from provider: "
GOOD = {"password": "canary-first"}
Act = Callable[[Town], object]


def at(key: str, property_name: str | None = "password", **more: str) -> list[dict[str, Any]]:
    """Return spec.data of one key."""
    ref = {"key": key, **({"property": property_name} if property_name else {}), **more}
    return [{"secretKey": "password", "remoteRef": ref}]


def role(name: str) -> dict[str, Any]:
    return {"provider": Town().provider(name)}


def reader(**changes: Any) -> Act:
    return lambda town: town.vault.kubernetes.update(
        reader=Role(paths=READER_PATHS, kind="batch", **{"audience": "vault", **changes})
    )


def end_version(*, destroy: bool) -> Act:
    def act(town: Town) -> None:
        town.vault.delete("app/db", destroy=destroy)
        town.annotate(now="1")

    return act


def write_again(town: Town) -> None:
    town.vault.put("app/db", GOOD)
    town.annotate(now="2")


def collide(town: Town) -> None:
    town.vault.put("app/odd", {"a/b": "canary-1", "a_b": "canary-2"})
    town.secret(data=[], dataFrom=[{"extract": {"key": "app/odd"}}])


BROKEN: dict[str, tuple[Act, Act, str, tuple[str, ...]]] = {
    # name: what breaks it, what mends it, ESO's text, what else the condition names
    "unknown store": (
        lambda town: town.secret(secretStoreRef={"name": "nobody"}),
        lambda town: town.secret(),
        FETCH,
        ("SecretStore nobody does not exist", "spec.data[0]", "create it"),
    ),
    "missing path": (
        lambda town: town.secret(data=at("app/nothing")),
        lambda town: town.secret(),
        FETCH,
        ("secret/data/app/nothing", "write the secret"),
    ),
    "missing property": (
        lambda town: town.secret(data=at("app/db", "nothing")),
        lambda town: town.secret(),
        FETCH,
        ("nothing", "app/db"),
    ),
    "missing version": (
        lambda town: town.secret(data=at("app/db", version="7")),
        lambda town: town.secret(),
        FETCH,
        ("secret/data/app/db",),
    ),
    "bad version": (
        lambda town: town.secret(data=at("app/db", version="newest")),
        lambda town: town.secret(),
        FETCH,
        ("app/db",),
    ),
    "version deleted": (
        end_version(destroy=False),
        write_again,
        FETCH,
        ("this version is deleted", "secret/data/app/db", "undelete it"),
    ),
    "version destroyed": (
        end_version(destroy=True),
        write_again,
        FETCH,
        ("this version is destroyed", "secret/data/app/db", "write a new version"),
    ),
    "no engine at the path": (
        lambda town: town.store(provider=town.provider(path="nowhere")),
        lambda town: town.store(),
        FETCH,
        ("nowhere/data/app/db", "no secrets engine"),
    ),
    "invalid duration": (
        lambda town: town.secret(refreshInterval="soon"),
        lambda town: town.secret(),
        FETCH,
        ("invalid duration", "spec.refreshInterval", "write 1h0m0s"),
    ),
    "key collision": (
        collide,
        lambda town: town.secret(),
        FETCH,
        ("a_b", "spec.dataFrom[0]"),
    ),
    "invalid template": (
        lambda town: town.secret(target={"template": {"data": {"password": "{{ .nothing | nonsense }}"}}}),
        lambda town: town.secret(),
        "could not apply template: ",
        ("spec.target.template",),
    ),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_it_is_said_the_secret_stays_and_mending_is_enough(town: Town, case: str) -> None:
    breaks, mends, said, named = BROKEN[case]
    town.secret()
    op = await town.start()
    breaks(town)
    await op.after(HOUR)
    status, reason, message = town.ready()
    assert (status, reason, message.startswith(said)) == ("False", "SecretSyncedError", True)
    assert [word for word in named if word not in message] == [], message
    assert "; " in message  # a remedy
    assert (town.data(), town.writes()) == (GOOD, 1)
    told = [event for event in town.cluster.told("db") if event[0] == "UpdateFailed"]
    assert 1 <= len(told) <= 2  # one per message, not one per try
    assert town.writes("externalsecrets/status") <= 4
    mends(town)
    await op.quiet()
    assert town.ready() == ("True", "SecretSynced", "secret synced")
    assert town.data() == GOOD


REFUSED: dict[str, tuple[Act, Act, tuple[str, ...]]] = {
    # name: before the start, what mends it, what the store's condition names
    "wrong role": (
        lambda town: town.store(**role("nope")),
        lambda town: town.store(),
        ("no role of that name", "role nope", "kubernetes"),
    ),
    "wrong audience": (reader(audience="other"), reader(), ("expects another audience", "role reader")),
    "wrong account": (reader(accounts=("boss",)), reader(), ("not bound to this account", "role reader")),
    "wrong namespace": (reader(namespaces=("bank",)), reader(), ("not bound to this namespace", "role reader")),
    "deleted in vault's eyes": (
        lambda town: town.vault.gone_accounts.add((SHOP, "app")),
        lambda town: town.vault.gone_accounts.clear(),
        ("refuses the login", "role reader"),
    ),
    "deleted account": (
        lambda town: town.cluster.remove("ServiceAccount", SHOP, "app"),
        lambda town: town.account("app"),
        ("ServiceAccount", "shop/app"),
    ),
    "ignored namespace": (
        lambda town: town.store(provider=town.provider(namespace="team")),
        lambda town: town.store(),
        ("has no namespaces", "provider.vault.namespace", "remove the namespace"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_store_that_is_refused_says_why_and_heals_by_itself(town: Town, case: str) -> None:
    breaks, mends, named = REFUSED[case]
    breaks(town)
    town.secret()
    op = await town.start()
    status, reason, message = town.ready("vault", "SecretStore")
    assert (status, reason) == ("False", "InvalidProviderConfig")
    assert message.startswith("unable to validate store: ")
    assert [word for word in named if word not in message] == [], message
    assert town.ready()[2].startswith(FETCH + 'SecretStore "vault" is not ready')
    assert (town.data(), town.reads) == (None, 0)
    await op.after(HOUR)
    assert town.logins <= 80  # once a minute, whoever waits
    assert (town.writes("secretstores/status"), town.writes("externalsecrets/status")) == (1, 1)
    mends(town)
    await op.after(61.0)
    assert town.ready("vault", "SecretStore") == ("True", "Valid", "store validated")
    assert town.ready() == ("True", "SecretSynced", "secret synced")
    assert town.data() == GOOD


async def test_a_login_that_breaks_after_the_first_read_keeps_the_secret(town: Town) -> None:
    town.secret(refreshInterval="60s", identity={"serviceAccountRef": {"name": "web"}})
    town.account("web")
    op = await town.start()
    assert town.data() == GOOD
    town.vault.gone_accounts.add((SHOP, "web"))
    town.vault.book.tokens = {"hvs.root": town.vault.book.tokens["hvs.root"]}  # and all tokens ended
    await op.after(120.0)
    assert town.ready()[0] == "False"
    assert "refuses the login" in town.ready()[2]
    assert town.data() == GOOD
    town.vault.gone_accounts.clear()
    await op.after(HOUR)
    assert (town.ready()[0], town.data()) == ("True", GOOD)


@pytest.mark.parametrize("at_store", [True, False])
async def test_what_belongs_to_another_class_is_not_touched(town: Town, at_store: bool) -> None:
    if at_store:
        town.store(controller="other")
        town.secret()
    else:
        town.generator(controller="other")
        town.secret(
            dataFrom=[{"sourceRef": {"generatorRef": {"kind": "VaultDynamicSecret", "name": "creds"}}}], data=[]
        )
    town.cluster.calls.clear()
    op = await town.start()
    await op.after(24 * HOUR)
    assert town.shown() == {}
    assert (town.data(), town.reasons(), town.mints) == (None, [], 0)
    assert town.writes() + town.writes("externalsecrets") == 0
    if at_store:
        assert town.cluster.status("SecretStore", SHOP, "vault") == {}
        assert town.attempts == 0


async def test_a_store_of_an_unbuilt_provider_says_so(town: Town) -> None:
    town._put(
        "SecretStore", "vault", {"provider": {"akeyless": {"akeylessGWApiURL": "x"}}}, api="external-secrets.io/v1"
    )
    town.secret()
    await town.start()
    status, reason, message = town.ready("vault", "SecretStore")
    assert (status, reason) == ("False", "InvalidProviderConfig")
    assert "akeyless" in message
    assert town.ready()[0] == "False"


async def test_a_target_of_another_external_secret_is_refused_and_taken_over_when_it_goes(town: Town) -> None:
    town.secret("first", target={"name": "shared"})
    op = await town.start()
    town.vault.put("app/two", {"password": "canary-two"})
    town.secret("second", target={"name": "shared"}, data=at("app/two"), refreshInterval="60s")
    await op.after(HOUR)
    status, reason, message = town.ready("second")
    assert (status, reason) == ("False", "SecretSyncedError")
    assert message.startswith("target is owned by another ExternalSecret: it belongs to ExternalSecret first")
    assert "Secret shop/shared" in message
    assert (town.data("shared"), town.writes()) == (GOOD, 1)
    town.cluster.remove("ExternalSecret", SHOP, "first")
    await op.after(600.0)
    assert town.ready("second") == ("True", "SecretSynced", "secret synced")
    assert town.data("shared") == {"password": "canary-two"}


async def test_a_target_of_another_controller_is_refused(town: Town) -> None:
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u", "controller": True}
    town.cluster.put_secret(SHOP, "db", theirs="canary-theirs")
    town.edit("Secret", "db", lambda body: body["metadata"].update(ownerReferences=[owner]))
    town.secret()
    op = await town.start()
    assert town.ready()[2].startswith("failed to take ownership of target secret: it is controlled by Deployment web")
    assert town.data() == {"theirs": "canary-theirs"}
    town.cluster.remove("Secret", SHOP, "db")
    await op.after(HOUR)
    assert (town.ready()[0], town.data()) == ("True", GOOD)


async def test_an_immutable_target_keeps_its_data_and_says_so(town: Town) -> None:
    town.secret(target={"immutable": True}, refreshInterval="60s")
    op = await town.start()
    town.vault.put("app/db", {"password": "canary-second"})
    await op.after(HOUR)
    assert town.ready()[2].startswith("could not update secret, target is immutable: ")
    assert "Secret shop/db" in town.ready()[2]
    assert "delete the Secret" in town.ready()[2]
    assert town.data() == GOOD
    town.cluster.remove("Secret", SHOP, "db")
    await op.after(600.0)
    assert (town.ready()[0], town.data()) == ("True", {"password": "canary-second"})


RIGHTS = [
    ("create", "secrets", "could not update secret: ", None),
    ("update", "secrets", "could not update secret: ", GOOD),
    ("get", "secrets", "could not update secret: ", GOOD),
    ("create", "serviceaccounts/token", "unable to validate store: ", None),
]


@pytest.mark.parametrize(("verb", "resource", "said", "left"), RIGHTS)
async def test_a_missing_right_is_named_by_verb_and_resource(
    town: Town, verb: str, resource: str, said: str, left: object
) -> None:
    if left is not None:
        town.secret(refreshInterval="60s")
    op = await town.boot()
    if left is not None:
        await op.quiet()
        town.vault.put("app/db", {"password": "canary-second"})
    right = town.cluster.deny(verb, resource)
    town.secret(refreshInterval="60s")
    await op.after(600.0)
    store = resource == "serviceaccounts/token"
    message = town.ready("vault", "SecretStore")[2] if store else town.ready()[2]
    assert message.startswith(said)
    assert [word for word in (verb, resource) if word not in message] == []
    assert (town.ready()[0], town.data()) == ("False", left)
    right.lift()
    await op.after(HOUR)
    assert town.ready()[0] == "True"
    assert town.data() == (GOOD if left is None else {"password": "canary-second"})


async def test_a_missing_right_to_write_status_loses_no_secret_and_costs_no_storm(town: Town) -> None:
    town.secret()
    right = town.cluster.deny("patch", "externalsecrets/status")
    op = await town.start()
    await op.after(HOUR)
    assert (town.data(), town.writes()) == (GOOD, 1)
    assert town.writes("externalsecrets/status") <= 30
    right.lift()
    await op.after(600.0)
    assert town.ready() == ("True", "SecretSynced", "secret synced")
    assert town.writes() == 1
