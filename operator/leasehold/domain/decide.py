"""What a pass does: an ordered tuple of small checks, the first hit is the verdict and its reason.

The order is the rule, and it is tested. Leases that must be kept alive come before reads that may fail, so that a
broken store or template never costs a credential.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from leasehold.api.externalsecret import ExternalSecret, RefreshPolicy
from leasehold.api.status import ExternalSecretCondition
from leasehold.api.target import CreationPolicy
from leasehold.domain import desired, report, upkeep
from leasehold.domain.errors import Pace
from leasehold.domain.facts import Target
from leasehold.domain.lease import LeaseRecord, LeaseTerms, OldLease
from leasehold.domain.reasons import ReadyReason, Why
from leasehold.domain.sources import Entry
from leasehold.domain.upkeep import Moment, Plan, Step

ROLLING = frozenset({"Pending", "Progressing", "Failed"})
"""States of status.rollout that ask for another look; a failed one may heal."""
UNHEARD = 3
"""Failed look-ups of a lease that has ended by our figures, after which its successor is minted all the same."""


class Act(Enum):
    """What the pass does."""

    REST = "rest"
    KEEP = "keep"
    """One step of one lease: renew, look up, shrink, revoke."""
    VERIFY = "verify"
    """Read the Secret once: it may differ from what we wrote."""
    FETCH = "fetch"
    """Read (and where a lease asks for it, mint), render, write."""
    FOLLOW = "follow"
    """Look how far the rollout is."""


@dataclass(frozen=True, slots=True)
class Memo:
    """What the process remembers of one object between passes; losing it costs reads, never truth."""

    refreshed_at: float | None = None
    """Last good read: status.refreshTime lags behind it by the status freshness."""
    target_version: str = ""
    """Resource version of the Secret that was seen to be right."""
    failures: int = 0
    pace: Pace | None = None  # of these failures: another ailment is counted anew
    held_until: float = 0.0
    """No fetch before this, unless the object or its store changes."""
    lease_holds: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """Step of a source (``hold_key``) -> (failed tries, not again before this)."""
    follow_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What the look gave."""

    secret: ExternalSecret
    target: Target | None
    targets_heard: bool
    """The list of Secrets has been heard: only then is an absent target a missing one."""
    record: LeaseRecord | None
    memo: Memo
    entries: tuple[Entry, ...] = ()
    """spec.data and spec.dataFrom, made plain."""
    leased: Mapping[str, str] = field(default_factory=dict)
    """Source id -> wanted hash, for every leased source whose store or generator is known."""
    terms: LeaseTerms = field(default_factory=LeaseTerms)
    published: bool = True
    """The Secret carries the current values of all leases: the status says so, which is written after it."""
    rolled_out: bool = True
    """No rollout is under way, and none has failed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do now, why, and (for REST) when to look again."""

    act: Act
    why: Why | None = None
    until: float | None = None
    source: str = ""
    step: Step | None = None
    old: OldLease | None = None

    @property
    def hold(self) -> str:
        """Key of the memo's hold on this very step: a step that fails must not hold up another."""
        return hold_key(self.source, self.step, self.old) if self.step is not None else ""


def hold_key(source: str, step: Step, old: OldLease | None = None) -> str:
    """Return the key under which a failing step of a source is held."""
    return f"{source} {step.value}" + ("" if old is None else " old")


def decide(facts: Facts, *, now: float) -> Verdict:
    """Return the verdict of the first check that hits; otherwise rest until the earliest due time."""
    for check in (_lease_steps, _fetch, _verify, _follow):
        verdict = check(facts, now)
        if verdict is not None:
            return verdict
    return Verdict(Act.REST, until=next_due(facts, now=now))


# ------------------------------------------------------------------------------------------------------------ leases


def _lease_steps(facts: Facts, now: float) -> Verdict | None:
    """Return the first step that keeps or ends a lease; a mint is a fetch and comes later."""
    for source, plans in _plans(facts, now).items():
        for plan in plans:
            if plan.step not in (Step.KEEP, Step.MINT) and now >= _held_until(facts, source, plan):
                return Verdict(Act.KEEP, source=source, step=plan.step, old=plan.old)
    return None


def _held_until(facts: Facts, source: str, plan: Plan) -> float:
    return facts.memo.lease_holds.get(hold_key(source, plan.step, plan.old), (0, 0.0))[1]


def _plans(facts: Facts, now: float) -> dict[str, tuple[Plan, ...]]:
    """Return the steps of each source. One that is held but not wanted is kept for what the Secret still carries."""
    held = facts.record.sources if facts.record is not None else {}
    named = (*facts.leased, *(source for source in held if source not in facts.leased))
    return {
        source: upkeep.steps(held.get(source), facts.leased.get(source), moment(facts, source, now=now))
        for source in named
    }


def moment(facts: Facts, source: str, *, now: float) -> Moment:
    """Return what beside its record decides about the steps of a source."""
    failed = facts.memo.lease_holds.get(hold_key(source, Step.LOOK_UP), (0, 0.0))[0]
    return Moment(
        terms=facts.terms,
        uid=f"{facts.secret.metadata.uid}/{source}",
        now=now,
        verified=facts.published and facts.rolled_out,
        unheard=failed >= UNHEARD,
    )


# ------------------------------------------------------------------------------------------------------------- fetch


def _never_synced(facts: Facts, _now: float) -> Why | None:
    status = facts.secret.status
    return Why.FIRST_SYNC if not status.synced_resource_version or status.refresh_time is None else None


def _spec_changed(facts: Facts, _now: float) -> Why | None:
    spec = facts.secret.spec
    once = spec.refresh_policy is RefreshPolicy.CREATED_ONCE
    never = spec.refresh_policy is RefreshPolicy.PERIODIC and facts.secret.spec.refresh_seconds() <= 0
    if once or never:
        return None
    same = facts.secret.status.synced_resource_version == desired.synced_version(facts.secret)
    return None if same else Why.SPEC_CHANGED


def _target_missing(facts: Facts, _now: float) -> Why | None:
    target = facts.secret.spec.target
    if facts.target is not None or not facts.targets_heard or target.creation_policy is CreationPolicy.NONE:
        return None
    once = facts.secret.spec.refresh_policy is RefreshPolicy.CREATED_ONCE
    if target.creation_policy is CreationPolicy.ORPHAN and once:
        return None
    return None if _settled_without_target(facts.secret) else Why.TARGET_MISSING


def _settled_without_target(secret: ExternalSecret) -> bool:
    """Tell whether the last good pass left no Secret on purpose: the next refresh looks again."""
    ready = ready_condition(secret)
    if ready is None or ready.status != "True":
        return False
    return ready.reason in (ReadyReason.DELETED, ReadyReason.MISSING) or ready.message == report.RETAINED


def _lease_wanted(facts: Facts, now: float) -> Why | None:
    return next((plan.why for plans in _plans(facts, now).values() for plan in plans if plan.step is Step.MINT), None)


def _unpublished(facts: Facts, _now: float) -> Why | None:
    """Ask for the publication of what was minted before a failure or a crash; nothing is minted for it."""
    return None if facts.published else Why.RETRY


def _refresh_due(facts: Facts, now: float) -> Why | None:
    due = refresh_due(facts)
    if due is None:
        return None
    refreshed = refreshed_at(facts)
    return Why.REFRESH_DUE if now >= due or (refreshed is not None and refreshed > now + 1.0) else None


def _unready(facts: Facts, _now: float) -> Why | None:
    ready = ready_condition(facts.secret)
    return Why.RETRY if ready is not None and ready.status == "False" else None


FETCH_CHECKS: tuple[Callable[[Facts, float], Why | None], ...] = (
    _never_synced,
    _spec_changed,
    _target_missing,
    _lease_wanted,
    _unpublished,
    _refresh_due,
    _unready,
)


def _fetch(facts: Facts, now: float) -> Verdict | None:
    if now < facts.memo.held_until:
        return None
    for check in FETCH_CHECKS:
        why = check(facts, now)
        if why is not None:
            return Verdict(Act.FETCH, why=why)
    return None


# ------------------------------------------------------------------------------------------------- verify and follow


def _verify(facts: Facts, now: float) -> Verdict | None:
    """Ask for a look at the Secret whose version is not the one that we know to be right.

    Orphan tolerates drift until the next refresh and None never looks, as in ESO.
    """
    policy = facts.secret.spec.target.creation_policy
    if facts.target is None or policy in (CreationPolicy.ORPHAN, CreationPolicy.NONE) or now < facts.memo.held_until:
        return None
    seen = facts.target.resource_version
    if seen in (facts.memo.target_version, facts.secret.status.target_resource_version):
        return None
    return Verdict(Act.VERIFY)


def _follow(facts: Facts, now: float) -> Verdict | None:
    rollout = facts.secret.status.rollout
    if facts.secret.spec.rollout is None or rollout is None or rollout.state not in ROLLING:
        return None
    return Verdict(Act.FOLLOW) if now >= facts.memo.follow_at else None


def next_due(facts: Facts, *, now: float) -> float | None:
    """Return the earliest time at which some check may hit without an event, None for never."""
    dues: list[float] = []
    refresh = refresh_due(facts)
    if refresh is not None:
        dues.append(refresh)
    if facts.memo.held_until > now:
        dues = [facts.memo.held_until]
    for source, plans in _plans(facts, now).items():
        for plan in plans:
            if plan.step is Step.KEEP:
                dues += [plan.due] if plan.due is not None else []
            elif plan.step is Step.MINT:
                dues.append(max(now, facts.memo.held_until))
            else:
                dues.append(max(now, _held_until(facts, source, plan)))
    rollout = facts.secret.status.rollout
    if facts.secret.spec.rollout is not None and rollout is not None and rollout.state in ROLLING:
        dues.append(max(facts.memo.follow_at, now))
    return min(dues, default=None)


def refresh_due(facts: Facts) -> float | None:
    """Return when the next periodic refresh is due, None where there is none.

    Raises:
        ValueError: the interval is no duration.
    """
    if facts.secret.spec.refresh_policy is not RefreshPolicy.PERIODIC:
        return None
    interval = facts.secret.spec.refresh_seconds()
    refreshed = refreshed_at(facts)
    if interval <= 0:
        return None
    return interval + refreshed if refreshed is not None else None


def refreshed_at(facts: Facts) -> float | None:
    """Return the time of the last good read, by memory or status, whichever is later."""
    shown = facts.secret.status.refresh_time
    times = [facts.memo.refreshed_at, shown.timestamp() if shown is not None else None]
    return max((at for at in times if at is not None), default=None)


def ready_condition(secret: ExternalSecret) -> ExternalSecretCondition | None:
    """Return the Ready condition, None where there is none yet."""
    return next((condition for condition in secret.status.conditions if condition.type == "Ready"), None)
