"""How long to wait after a failure: of a pass, and of one step of a lease. Nothing here asks the backend.

A step that fails holds up itself only, so that a revocation that is refused never costs a renewal.
"""

from __future__ import annotations

from leasehold.domain import lease
from leasehold.domain.decide import Facts, Verdict, hold_key
from leasehold.domain.errors import DomainError, Pace
from leasehold.domain.reasons import EventReason
from leasehold.domain.upkeep import Step
from leasehold.flows import look
from leasehold.flows.house import House

FIRST_BACKOFF = 1.0
LAST_BACKOFF = 420.0
"""Seconds: ESO's per-object limiter, 1 s to 7 min."""
URGENCY = 1 / 4
"""Share of the time left after which a step that keeps a credential alive is tried again at the latest."""
FIRST_SLOW = 5.0
"""Seconds before the first further try where somebody has to grant or mend something elsewhere."""
QUIET = 5
"""Conflicts in a row that are nobody's fault; from then on they are reported."""
SLOW = 60.0
"""Seconds between two looks at what only hands can move."""


def backoff(error: DomainError, failures: int, uid: str) -> float:
    """Return the seconds before the next try: by the error's pace, doubled per failure, spread by the uid."""
    retry = error.retry
    if retry.pace is Pace.NOW:
        return min(0.05 * 2.0 ** min(failures, 6), 2.0)
    first = FIRST_SLOW if retry.pace is Pace.SLOW else FIRST_BACKOFF
    wait = min(first * 2.0 ** min(failures - 1, 10), LAST_BACKOFF)
    wait -= lease.spread(f"{uid}/{failures}", 0.2) * wait
    return max(wait, retry.after or 0.0)


def hold(house: House, facts: Facts, verdict: Verdict, error: DomainError) -> float:
    """Hold the step, tell of its first failure, and return when it is tried again.

    What keeps a credential alive is tried the sooner the less time is left.
    """
    secret, uid, now = facts.secret, facts.secret.metadata.uid, house.clock.now()
    memo = house.memory.get(uid)
    failures = memo.lease_holds.get(verdict.hold, (0, 0.0))[0] + 1
    left = _left(facts, verdict, now)
    wait = backoff(error, failures, uid)
    if left > 0:
        wait = max(min(wait, max(left * URGENCY, lease.RETRY_FLOOR)), error.retry_after or 0.0)
    house.memory.update(uid, lease_holds={**memo.lease_holds, verdict.hold: (failures, now + wait)})
    house.signals.lease_renewed("failed")
    if failures == 1 and verdict.step is not None:
        prospect = f"the credential lives for {int(left)}s and it is tried again" if left > 0 else "it is tried again"
        house.events.emit(
            look.key_of(secret),
            uid=uid,
            reason=EventReason.LEASE_RENEWAL_FAILED,
            message=f"{verdict.source}: {verdict.step.value} failed: {error}; {prospect}",
            warning=True,
        )
    return now + wait


def _left(facts: Facts, verdict: Verdict, now: float) -> float:
    """Return the seconds that the lease lives which the step should keep alive, 0 where it keeps none alive."""
    if verdict.step not in (Step.RENEW, Step.RENEW_OWNER) or facts.record is None:
        return 0.0
    held = facts.record.sources[verdict.source]
    kept = verdict.old.lease if verdict.old is not None else held.current
    return max(kept.ends_at - now, 0.0) if kept is not None else 0.0


def clear(house: House, facts: Facts, verdict: Verdict) -> None:
    """Forget the failures of a step that has succeeded."""
    _forget(house, facts.secret.metadata.uid, verdict.hold)


def forget_look_up(house: House, uid: str, source: str) -> None:
    """Forget that the lease before could not be looked up: its successor has been minted."""
    _forget(house, uid, hold_key(source, Step.LOOK_UP))


def _forget(house: House, uid: str, key: str) -> None:
    holds = house.memory.get(uid).lease_holds
    if key in holds:
        house.memory.update(uid, lease_holds={step: held for step, held in holds.items() if step != key})
