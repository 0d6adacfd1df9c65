"""Every operation under every fault: what comes out is a DomainError without a value, a token or a lease id."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from leasehold.domain.errors import DomainError
from leasehold.domain.ports import MintRequest, Remote
from leasehold.providers.vault.errors import Why
from tests.contracts.canary import assert_clean
from tests.contracts.leaser import handle, mint
from tests.worlds.stores import OPERATOR, Desk
from tests.worlds.vault import VaultWorld, encode_jwt
from tests.worlds.vault_tokens import Refused

TEXT = "canary p4ssw0rd https://user:canary@db SELECT 'canary'"
NO_ANSWER = [
    why for why in Why if why.value in ("refused", "unresolved", "silent", "lost", "untrusted", "tls", "garbled")
]
STATUSES = [400, 401, 403, 404, 405, 412, 418, 429, 472, 473, 500, 501, 502, 503, 504]
SECRETS = ("canary", "p4ssw0rd", "hvs.", "hvb.", "accessor-", encode_jwt("team", "app", "")[:12])


class Foul(VaultWorld):
    """A Vault that answers everything with a status and a text full of secrets, once told to."""

    status = 0

    def _answer(self, *request: Any) -> Any:
        if self.status:
            raise Refused(
                self.status, TEXT, body={"errors": [TEXT, None], "warnings": [TEXT], "data": {"canary": TEXT}}
            )
        return super()._answer(*request)


@pytest.fixture
def world(world: VaultWorld) -> Foul:
    foul = Foul(world.clock)
    for name in ("mounts", "database", "kubernetes"):
        setattr(foul, name, getattr(world, name))
    return foul


Operation = Callable[[], Awaitable[Any]]


async def operations(desk: Desk) -> Iterator[tuple[str, Operation]]:
    """Return all that can be asked, each prepared while the world was well."""
    store, cold, generator = await desk.store(), await desk.store(name="cold"), await desk.generator()
    await store.check()
    owner, grant = await mint(generator, MintRequest("database/creds/app"))
    keeper = await desk.registry.keeper(generator.connection)
    lease = handle(owner, grant)
    await keeper.look_up(lease)

    async def read_cold() -> Any:
        return await cold.read([Remote("app"), Remote("app", version="3"), Remote("app", metadata=True)])

    return iter(
        [
            ("read", lambda: store.read([Remote("app")])),
            ("read cold", read_cold),
            ("check", store.check),
            ("leases", lambda: generator.leases(Remote("x"))),
            ("login_owner", generator.login_owner),
            ("mint", lambda: generator.mint(owner, MintRequest("database/creds/app"))),
            ("mint raw", lambda: generator.mint(owner, MintRequest("p", method="POST", parameters={"a": "canary"}))),
            ("renew", lambda: keeper.renew(lease, 60)),
            ("look_up", lambda: keeper.look_up(lease)),
            ("renew_owner", lambda: keeper.renew_owner(lease)),
            ("look_up_owner", lambda: keeper.look_up_owner(lease)),
            ("revoke_owner", lambda: keeper.revoke_owner(lease)),
        ]
    )


async def outcome(operation: Operation) -> list[object]:
    """Return what an operation gave: its errors, or its results."""
    try:
        result = await operation()
    except DomainError as error:
        return [error]
    return [*result.values()] if isinstance(result, dict) else [result]


@pytest.mark.parametrize("operator", [OPERATOR, None], ids=["operator", "memory"])
@pytest.mark.parametrize("fault", [*NO_ANSWER, *STATUSES])
async def test_no_fault_lets_a_secret_out(world: Foul, clock: Any, fault: Why | int, operator: Any) -> None:
    desk = Desk(world, clock, operator=operator)
    prepared = await operations(desk)
    if isinstance(fault, Why):
        world.fault = fault
    else:
        world.status = fault
    for name, operation in prepared:
        clock.advance(3600)  # the gate of the address is open again for each
        for thing in await outcome(operation):
            if isinstance(thing, DomainError):
                assert thing.remedy, name
                assert re.search(r"Vault|version|JSON|secret|request", thing.cause), name
            assert_clean(thing, secrets=SECRETS)
