import pytest

from leasehold.domain.decide import Act, Verdict
from leasehold.domain.errors import Conflict, Denied, Misconfigured, Unavailable
from leasehold.domain.lease import OldLease
from leasehold.domain.reasons import EventReason
from leasehold.domain.upkeep import Step
from leasehold.flows import holding, look
from tests.worlds.household import World
from tests.worlds.objects import lease, record, source

SOURCE = "dataFrom[0]"
DOWN = Unavailable("it does not answer")


@pytest.mark.parametrize(
    ("error", "failures", "least", "most"),
    [
        (DOWN, 1, 0.8, 1.0),
        (DOWN, 2, 1.6, 2.0),
        (DOWN, 5, 12.8, 16.0),
        (DOWN, 50, 336.0, 420.0),
        (Unavailable("throttled", retry_after=30.0), 1, 30.0, 30.0),
        (Denied("x"), 1, 4.0, 5.0),
        (Denied("x"), 9, 336.0, 420.0),
        (Misconfigured("x"), 1, 4.0, 5.0),
        (Conflict("x"), 1, 0.05, 0.1),
        (Conflict("x"), 50, 2.0, 3.2),
    ],
)
def test_backoff(error, failures, least, most):
    assert least <= holding.backoff(error, failures, "uid") <= most
    assert holding.backoff(error, failures, "uid") == holding.backoff(error, failures, "uid")


def held(world, step, *, left=3_600.0, old=None):
    """Return the seconds for which a failing step is held, for a lease with so much time left."""
    now = world.clock.now()
    ends = {"expires_at": now + left, "owner_expires_at": now + left}
    replaced = OldLease(lease("old", **ends), now) if old else None
    current = source(lease(**({} if old else ends)), old=(replaced,) if replaced else ())
    world.house.records.note(record({SOURCE: current}))
    facts = look.facts(world.house, world.object)
    verdict = Verdict(Act.KEEP, source=SOURCE, step=step, old=replaced)
    return holding.hold(world.house, facts, verdict, DOWN) - now, facts, verdict


@pytest.mark.parametrize("step", [Step.RENEW, Step.RENEW_OWNER])
@pytest.mark.parametrize("old", [False, True])
def test_what_keeps_a_credential_alive_is_tried_the_sooner_the_less_time_is_left(step, old):
    world = World()
    waits = [held(world, step, left=left, old=old)[0] for left in (3_600.0,) * 12]
    assert waits[0] <= 1.0
    assert waits[-1] > 300.0
    assert held(world, step, left=40.0, old=old)[0] == 10.0
    assert held(world, step, left=0.1, old=old)[0] == 0.5


@pytest.mark.parametrize("step", [Step.LOOK_UP, Step.CLEAR_INTENT, Step.SHRINK, Step.REVOKE])
def test_what_keeps_nothing_alive_backs_off(step):
    world = World()
    assert [held(world, step, left=1.0)[0] > 0.7 for _ in range(12)] == [True] * 12
    assert held(world, step, left=1.0)[0] > 300.0


def test_the_first_failure_is_told_and_a_success_forgets_it():
    world = World()
    for _ in range(3):
        _, facts, verdict = held(world, Step.RENEW)
    assert [reason for reason, _ in world.events] == [EventReason.LEASE_RENEWAL_FAILED]
    assert world.events[0][1].startswith(f"{SOURCE}: renew failed: it does not answer; the credential lives for ")
    holding.clear(world.house, facts, verdict)
    assert world.house.memory.get("uid-db").lease_holds == {}


def test_a_mint_forgets_the_look_ups_of_the_lease_before_and_nothing_else():
    world = World()
    held(world, Step.LOOK_UP)
    held(world, Step.REVOKE)
    holding.forget_look_up(world.house, "uid-db", SOURCE)
    assert list(world.house.memory.get("uid-db").lease_holds) == [f"{SOURCE} revoke"]


def test_a_change_releases_the_holds_and_keeps_the_count():
    world = World()
    held(world, Step.RENEW)
    world.house.memory.release_hold("uid-db")
    assert world.house.memory.get("uid-db").lease_holds == {f"{SOURCE} renew": (1, 0.0)}
