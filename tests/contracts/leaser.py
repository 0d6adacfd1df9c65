"""What every `Leaser` and its `Keeper` do together: mint, renew, shorten, end, and what they say in bad times."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Protocol

import pytest

from leasehold.domain.errors import Denied, Misconfigured, Unavailable
from leasehold.domain.ports import Grant, Handle, Keeper, LeaseOutcome, Leaser, MintRequest, Owner
from leasehold.domain.values import SecretBytes
from tests.contracts.canary import assert_clean

ENDED = (LeaseOutcome.GONE, LeaseOutcome.OWNERLESS)


class LeaserBench(Protocol):
    """A backend that leases credentials which a test can try."""

    request: MintRequest
    """Mints; what it gives can live for ``longest`` seconds in all."""
    longest: float
    unknown_role: MintRequest
    forbidden: MintRequest

    @property
    def leaser(self) -> Leaser:
        """Who mints."""
        ...

    @property
    def keeper(self) -> Keeper:
        """Who keeps what was minted."""
        ...

    def works(self, grant: Grant) -> bool:
        """Tell whether the credential logs in now."""
        ...

    async def pass_time(self, seconds: float) -> None:
        """Let so much time pass."""
        ...

    def minted(self) -> int:
        """Return how many leases the backend holds."""
        ...

    def break_engine(self) -> None:
        """Take away what the engine works on; the backend itself answers."""
        ...

    def mend_engine(self) -> None:
        """Bring it back."""
        ...


def handle(owner: Owner, grant: Grant) -> Handle:
    return Handle(grant.lease_id, owner.accessor)


async def mint(leaser: Leaser, request: MintRequest) -> tuple[Owner, Grant]:
    """Mint as a flow does."""
    owner = await leaser.login_owner()
    grant = await leaser.mint(owner, request)
    await leaser.drop_owner(owner)
    return owner, grant


class LeaserContract:
    """Subclasses give a fixture ``bench``."""

    stranger: ClassVar[LeaseOutcome] = LeaseOutcome.OWNERLESS
    """What the keeper says of an accessor that it does not know."""

    async def test_a_mint_gives_a_credential_and_a_lease(self, bench: LeaserBench) -> None:
        owner, grant = await mint(bench.leaser, bench.request)
        assert set(grant.values) == {"username", "password"}
        assert bench.works(grant)
        assert grant.lease_id
        assert grant.ttl > 0
        assert grant.renewable
        assert owner.accessor
        texts = [value.reveal().decode() for value in grant.values.values()]
        secrets = (*texts, grant.lease_id.reveal().decode(), owner.token.reveal().decode())
        assert_clean(owner, grant, handle(owner, grant), secrets=secrets)

    async def test_each_mint_has_an_owner_of_its_own(self, bench: LeaserBench) -> None:
        (first, one), (second, two) = await mint(bench.leaser, bench.request), await mint(bench.leaser, bench.request)
        assert first.accessor != second.accessor
        await bench.keeper.revoke_owner(handle(first, one))
        await bench.pass_time(1)  # the backend ends the leases of an owner a moment later
        assert not bench.works(one)
        assert bench.works(two)

    async def test_renewal_counts_from_now(self, bench: LeaserBench) -> None:
        owner, grant = await mint(bench.leaser, bench.request)
        renewal = await bench.keeper.renew(handle(owner, grant), grant.ttl - 2)
        assert renewal.outcome is LeaseOutcome.ALIVE
        assert renewal.ttl == grant.ttl - 2
        assert not renewal.capped
        left = await bench.keeper.look_up(handle(owner, grant))
        assert left.outcome is LeaseOutcome.ALIVE
        assert 0 < left.ttl <= grant.ttl - 2

    async def test_the_maximum_shows(self, bench: LeaserBench) -> None:
        owner, grant = await mint(bench.leaser, bench.request)
        renewal = await bench.keeper.renew(handle(owner, grant), bench.longest * 10)
        assert renewal.outcome is LeaseOutcome.ALIVE
        assert renewal.capped
        assert bench.longest - 5 < renewal.ttl <= bench.longest

    async def test_shortening_ends_the_credential(self, bench: LeaserBench) -> None:
        owner, grant = await mint(bench.leaser, bench.request)
        shortened = await bench.keeper.renew(handle(owner, grant), 0.2)
        assert shortened.outcome is LeaseOutcome.ALIVE
        assert shortened.ttl == 1  # never the role's default, which 0 would mean
        await bench.pass_time(3)
        assert not bench.works(grant)
        assert (await bench.keeper.renew(handle(owner, grant), 60)).outcome in ENDED
        assert (await bench.keeper.look_up(handle(owner, grant))).outcome in ENDED

    async def test_shortening_can_be_undone_in_time(self, bench: LeaserBench) -> None:
        owner, grant = await mint(bench.leaser, bench.request)
        await bench.keeper.renew(handle(owner, grant), 3)
        assert (await bench.keeper.renew(handle(owner, grant), grant.ttl)).ttl == grant.ttl
        await bench.pass_time(4)
        assert bench.works(grant)

    async def test_the_owner_can_be_kept(self, bench: LeaserBench) -> None:
        owner, grant = await mint(bench.leaser, bench.request)
        for renewal in (
            await bench.keeper.renew_owner(handle(owner, grant)),
            await bench.keeper.look_up_owner(handle(owner, grant)),
        ):
            assert renewal.outcome is LeaseOutcome.ALIVE
            assert renewal.ttl > 0

    async def test_revoking_ends_all_and_can_be_repeated(self, bench: LeaserBench) -> None:
        owner, grant = await mint(bench.leaser, bench.request)
        await bench.keeper.revoke_owner(handle(owner, grant))
        await bench.keeper.revoke_owner(handle(owner, grant))
        await bench.pass_time(1)
        assert not bench.works(grant)
        assert (await bench.keeper.renew(handle(owner, grant), 60)).outcome in ENDED
        assert (await bench.keeper.renew_owner(handle(owner, grant))).outcome is LeaseOutcome.OWNERLESS
        assert (await bench.keeper.look_up_owner(handle(owner, grant))).outcome is LeaseOutcome.OWNERLESS

    async def test_an_intent_alone_suffices_to_clean_up(self, bench: LeaserBench) -> None:
        owner, grant = await mint(bench.leaser, bench.request)
        await bench.keeper.revoke_owner(Handle(SecretBytes(b""), owner.accessor))
        await bench.pass_time(1)
        assert not bench.works(grant)

    async def test_a_stranger_is_told_apart(self, bench: LeaserBench) -> None:
        stranger = Handle(SecretBytes("database/creds/app/unknowncanary"), SecretBytes("unknowncanary"))
        assert (await bench.keeper.renew_owner(stranger)).outcome is self.stranger
        assert (await bench.keeper.look_up_owner(stranger)).outcome is self.stranger

    async def test_what_cannot_be_minted_is_said_and_not_minted(self, bench: LeaserBench) -> None:
        before = bench.minted()
        owner = await bench.leaser.login_owner()
        with pytest.raises(Misconfigured, match="no role") as unknown:
            await bench.leaser.mint(owner, bench.unknown_role)
        with pytest.raises(Denied, match="denies access") as forbidden:
            await bench.leaser.mint(owner, bench.forbidden)
        assert bench.minted() == before
        assert bench.forbidden.path in str(forbidden.value)
        assert_clean(unknown.value, forbidden.value, owner)

    async def test_an_engine_that_is_down_is_no_verdict(self, bench: LeaserBench) -> None:
        owner, grant = await mint(bench.leaser, bench.request)
        bench.break_engine()
        with pytest.raises(Unavailable) as mint_failed:
            await bench.leaser.mint(owner, bench.request)
        with pytest.raises(Unavailable) as renewal_failed:
            await bench.keeper.renew(handle(owner, grant), 30)
        assert_clean(mint_failed.value, renewal_failed.value, secrets=("canary", "p4ssw0rd", "SQLSTATE", "dial tcp"))
        assert (await bench.keeper.look_up(handle(owner, grant))).outcome is LeaseOutcome.ALIVE
        bench.mend_engine()
        assert (await bench.keeper.renew(handle(owner, grant), 30)).outcome is LeaseOutcome.ALIVE
        assert bench.works(grant)

    async def test_owners_log_in_at_once(self, bench: LeaserBench) -> None:
        owners = await asyncio.gather(*(bench.leaser.login_owner() for _ in range(5)))
        assert len({owner.accessor.reveal() for owner in owners}) == 5
