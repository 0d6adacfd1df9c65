from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leasehold.domain.errors import Denied, DomainError, Unavailable
from leasehold.domain.values import SecretBytes
from leasehold.providers.circuit import Circuit
from leasehold.providers.vault.adapter import LANES, Line
from leasehold.providers.vault.errors import Trouble, Why
from leasehold.providers.vault.tokens import HOLD, SECOND_LOOK, Login, Patience, Tokens, login_of
from leasehold.providers.vault.transport import Wiring
from tests.contracts.canary import assert_clean
from tests.worlds.clock import ManualClock
from tests.worlds.vault import VaultWorld
from tests.worlds.vault_tokens import Role, Token


class Rig:
    """Tokens on a world; logging in makes a token of a role, or fails as a test wants."""

    def __init__(self, clock: ManualClock, world: VaultWorld) -> None:
        self.clock, self.world = clock, world
        self.role = Role(paths=("secret/*",), ttl=300, max_ttl=900)
        self.logins = 0
        self.failure: DomainError | None = None
        self.issued: list[Token] = []
        line = Line(
            world.connect(Wiring(world.address)), Circuit(clock=clock, limit=8, lanes=LANES), world.address, clock=clock
        )
        self.tokens = Tokens(line, self._log_in, patience=Patience(retries=1, pause=0))

    async def _log_in(self) -> Login:
        self.logins += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.issued.append(self.world.book.issue(self.role))
        return login_of({"auth": self.world.book.shown(self.issued[-1])})

    async def read(self) -> Any:
        return await self.tokens.told(lambda vault: vault.adapter.get("/v1/secret/data/app"), path="secret/data/app")

    async def age(self, seconds: float, *, step: float = 20.0) -> None:
        """Let time pass with a read now and then."""
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            seconds -= step
            await self.read()


@pytest.fixture
def rig(clock: ManualClock, world: VaultWorld) -> Rig:
    world.put("app", {"a": "1"})
    return Rig(clock, world)


async def test_one_login_for_all_who_wait(rig: Rig) -> None:
    await asyncio.gather(*(rig.read() for _ in range(50)))
    assert rig.logins == 1


async def test_one_failed_login_for_all_who_wait(rig: Rig) -> None:
    rig.failure = Unavailable("down", remedy="wait")
    results = await asyncio.gather(*(rig.read() for _ in range(50)), return_exceptions=True)
    assert {str(result) for result in results} == {"down; wait"}
    assert len({id(result) for result in results}) == 50
    assert rig.logins == 1


async def test_a_refused_login_is_not_tried_again_at_once(rig: Rig) -> None:
    rig.failure = Denied("refused", remedy="bind the role")
    for _ in range(5):
        with pytest.raises(Denied):
            await rig.read()
    assert rig.logins == 1
    rig.failure = None
    rig.clock.advance(HOLD)
    await rig.read()
    assert rig.logins == 2


async def test_an_unavailable_login_is_tried_by_whoever_asks(rig: Rig) -> None:
    rig.failure = Unavailable("down", remedy="wait")
    for _ in range(2):
        with pytest.raises(Unavailable):
            await rig.read()
    assert rig.logins == 2


async def test_a_cancelled_login_fails_nobody_else(rig: Rig) -> None:
    rig.world.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(rig.read())
        await asyncio.sleep(0)
        second = group.create_task(rig.read())
        await asyncio.sleep(0)
        first.cancel()
        rig.world.gate.set()
    assert first.cancelled()
    assert second.result()


async def test_renewed_at_two_thirds_and_made_anew_at_the_maximum(rig: Rig) -> None:
    await rig.read()
    await rig.age(180)
    assert rig.world.count("renew-self") == 0
    await rig.age(40)
    assert rig.world.count("renew-self") == 1
    await rig.age(600)
    assert rig.logins == 2  # at 800 s the renewal gave only what is left of 900
    assert rig.world.count("renew-self") == 4


async def test_a_renewal_that_gets_no_answer_keeps_the_token(rig: Rig) -> None:
    await rig.read()
    rig.clock.advance(210)
    rig.world.lose_answers = 2
    await rig.read()
    assert rig.logins == 1
    before = rig.world.count("renew-self")
    await rig.read()
    assert rig.world.count("renew-self") == before  # not asked again for a moment
    rig.clock.advance(HOLD)
    await rig.read()
    assert rig.world.count("renew-self") == before + 1


async def test_a_renewal_that_is_refused_leads_to_a_login(rig: Rig) -> None:
    await rig.read()
    rig.world.book.revoke(rig.issued[0])
    rig.clock.advance(210)
    await rig.read()
    assert rig.logins == 2


async def test_a_batch_token_is_made_anew_before_its_end(rig: Rig) -> None:
    rig.role = Role(paths=("secret/*",), ttl=300, kind="batch")
    await rig.read()
    await rig.age(260)
    assert rig.logins == 1
    await rig.age(20)
    assert rig.logins == 2
    assert rig.world.count("renew-self") == 0


async def test_an_ended_token_is_not_tried(rig: Rig) -> None:
    await rig.read()
    rig.clock.advance(10_000)
    before = len(rig.world.seen)
    await rig.read()
    assert rig.logins == 2
    assert len(rig.world.seen) == before + 1


async def test_a_dead_token_leads_to_one_login(rig: Rig) -> None:
    await rig.read()
    rig.world.book.revoke(rig.issued[0])
    await rig.read()
    assert rig.logins == 2


async def test_a_login_that_dies_at_once_is_no_loop(rig: Rig) -> None:
    async def ask(vault: Any) -> Any:
        raise Trouble(Why.TOKEN, status=403)

    with pytest.raises(Denied, match="does not accept the token"):
        await rig.tokens.told(ask, path="secret/data/app")
    assert rig.logins == 2


async def test_a_denial_is_checked_by_a_login_when_the_token_is_old(rig: Rig) -> None:
    rig.role = Role(paths=("other/*",))
    with pytest.raises(Denied, match="denies access"):
        await rig.read()
    assert rig.logins == 1
    rig.role = Role(paths=("secret/*",))
    with pytest.raises(Denied):
        await rig.read()
    rig.clock.advance(SECOND_LOOK)
    await rig.read()
    assert rig.logins == 2


async def test_without_a_login_there_is_no_token(rig: Rig) -> None:
    async def anonymous() -> Login:
        return Login(token=None, ours=False)

    rig.tokens._log_in = anonymous
    with pytest.raises(Denied):
        await rig.read()
    assert rig.tokens.login == Login(token=None, ours=False)


async def test_log_out(rig: Rig) -> None:
    await rig.tokens.revoke()
    assert not rig.world.seen
    await rig.read()
    await rig.tokens.revoke()
    assert rig.issued[0].value not in rig.world.book.tokens
    await rig.tokens.revoke()
    assert rig.world.count("revoke-self") == 1


@pytest.mark.parametrize("bad", ["stored", "batch"])
async def test_what_is_not_ours_or_cannot_be_revoked_is_left(rig: Rig, bad: str) -> None:
    async def log_in() -> Login:
        accessor = SecretBytes(b"" if bad == "batch" else b"a")
        return Login(SecretBytes("canary"), accessor, ours=bad != "stored")

    rig.tokens._log_in = log_in
    await rig.tokens.ensure()
    await rig.tokens.revoke()
    assert not rig.world.seen


async def test_logging_out_of_a_vault_that_is_down_is_no_error(rig: Rig) -> None:
    await rig.read()
    rig.world.fault = Why.REFUSED
    await rig.tokens.revoke()


@pytest.mark.parametrize("answer", [{}, {"auth": None}, {"auth": {"client_token": ""}}, {"auth": {"client_token": 1}}])
def test_no_login_in_the_answer(answer: dict[str, Any]) -> None:
    with pytest.raises(Trouble, match="garbled"):
        login_of(answer)


def test_a_login_shows_nothing() -> None:
    assert_clean(login_of({"auth": {"client_token": "canary", "accessor": "canary", "lease_duration": 5}}))
