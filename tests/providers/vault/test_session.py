from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leasehold.api.meta import RetrySettings
from leasehold.domain.errors import Denied, Misconfigured, Unavailable
from leasehold.domain.ports import Remote
from leasehold.providers.vault.errors import Why
from leasehold.providers.vault.session import LONGEST_PAUSE, MOST_RETRIES, patience
from leasehold.providers.vault.tokens import Patience
from tests.contracts.reader import document
from tests.worlds.stores import Desk
from tests.worlds.vault_tokens import Role


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (None, Patience()),
        ({}, Patience(0)),
        ({"retryInterval": "2s"}, Patience(0, 2.0)),
        ({"maxRetries": 3}, Patience(3)),
        ({"maxRetries": 3, "retryInterval": "500ms"}, Patience(3, 0.5)),
        ({"maxRetries": 100, "retryInterval": "1h"}, Patience(MOST_RETRIES, LONGEST_PAUSE)),
        ({"maxRetries": -1, "retryInterval": "-5s"}, Patience(0, 0.0)),
    ],
)
def test_patience(settings: dict[str, Any] | None, expected: Patience) -> None:
    assert patience(None if settings is None else RetrySettings.model_validate(settings)) == expected


def test_bad_patience() -> None:
    with pytest.raises(Misconfigured, match=r"retrySettings\.retryInterval"):
        patience(RetrySettings(retry_interval="often"))


async def test_references_are_resolved_once(desk: Desk) -> None:
    desk.world.put("app", {"a": "1"})
    desk.secrets["token", "t"] = desk.world.book.issue(Role(paths=("secret/*",))).value
    store = await desk.store({"auth": {"tokenSecretRef": {"name": "token", "key": "t"}}})
    await asyncio.gather(*(store.read([Remote("app")]) for _ in range(20)))
    assert [asked for wallet in desk.wallets for asked in wallet.asked] == ["token/t"]


async def test_a_new_token_in_the_secret_is_taken_when_the_old_one_is_dead(desk: Desk) -> None:
    desk.world.put("app", {"a": "1"})
    old = desk.world.book.issue(Role(paths=("secret/*",)))
    desk.secrets["token", "t"] = old.value
    store = await desk.store({"auth": {"tokenSecretRef": {"name": "token", "key": "t"}}})
    document((await store.read([Remote("app")]))[Remote("app")])
    desk.world.book.revoke(old)
    desk.secrets["token", "t"] = desk.world.book.issue(Role(paths=("secret/*",))).value
    document((await store.read([Remote("app")]))[Remote("app")])


async def test_a_missing_secret_heals_when_it_is_there(desk: Desk) -> None:
    desk.world.put("app", {"a": "1"})
    store = await desk.store({"auth": {"tokenSecretRef": {"name": "token", "key": "t"}}})
    assert isinstance((await store.read([Remote("app")]))[Remote("app")], Misconfigured)
    desk.secrets["token", "t"] = desk.world.book.issue(Role(paths=("secret/*",))).value
    desk.clock.advance(10)
    document((await store.read([Remote("app")]))[Remote("app")])


async def test_a_client_certificate_that_may_be_refused_is_resolved_afresh(desk: Desk) -> None:
    desk.world.put("app", {"a": "1"})
    desk.secrets |= {("tls", "tls.crt"): "OLD", ("tls", "tls.key"): "key"}
    store = await desk.store({"tls": {"certSecretRef": {"name": "tls"}, "keySecretRef": {"name": "tls"}}})
    document((await store.read([Remote("app")]))[Remote("app")])
    desk.world.fault = Why.LOST
    assert isinstance((await store.read([Remote("app")]))[Remote("app")], Unavailable)
    desk.world.fault = None
    asked = len(desk.wallets[-1].asked)
    document((await store.read([Remote("app")]))[Remote("app")])
    assert "tls/tls.crt" in desk.wallets[-1].asked[asked:]


async def test_a_line_that_is_not_used_is_hung_up(desk: Desk) -> None:
    for provider in ({"namespace": "ignored"}, {}):
        store = await desk.store(provider, name=str(len(provider)))
        await store.read([Remote("app")])
        await store.close()
    assert desk.world.lines
    assert all(line.closed for line in desk.world.lines)


async def test_closing_logs_out_and_opens_again_on_demand(desk: Desk) -> None:
    desk.world.put("app", {"a": "1"})
    store = await desk.store()
    await store.read([Remote("app")])
    await store.close()
    assert desk.world.count("revoke-self") == 1
    document((await store.read([Remote("app")]))[Remote("app")])


async def test_closing_what_never_logged_in_asks_nobody(desk: Desk) -> None:
    await (await desk.store()).close()
    assert not desk.world.seen


async def test_a_denied_path_is_named(desk: Desk) -> None:
    desk.world.kubernetes["app"].paths = ()
    store = await desk.store()
    answer = (await store.read([Remote("app")]))[Remote("app")]
    assert isinstance(answer, Denied)
    assert answer.path == "secret/data/app"
