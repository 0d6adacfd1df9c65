"""Rollouts: follow one ExternalSecret's rollout to its end, and restart one workload for all of its Secrets.

Two agenda keys share the work. ``follow`` looks at all workloads of the namespace for one ExternalSecret and only
*asks* for restarts, by waking the workload's own key a little later; ``restart`` looks at that one workload, gathers
what every ExternalSecret of the namespace wants of it, and sends one patch. So Secrets that change close together
cost a workload one restart, and a workload is never patched by two passes at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from leasehold.api.externalsecret import ExternalSecret
from leasehold.api.parse import Invalid
from leasehold.api.status import RolloutStatus
from leasehold.domain import restarts
from leasehold.domain import rollout as rules
from leasehold.domain.errors import Denied, DomainError, Misconfigured, Pace
from leasehold.domain.facts import Key, Workload, WorkloadRef
from leasehold.domain.reasons import EventReason
from leasehold.domain.restarts import Restart
from leasehold.domain.review import Notice, Review, Surroundings, review
from leasehold.domain.rollout import Demand
from leasehold.flows.house import House

SETTLE = 2.0
"""Seconds between the wish for a restart and the patch: what changes within a second of it is taken along."""
WORKLOAD = "Workload/"
"""Kind of an agenda key that names a workload: Workload/Deployment, Workload/StatefulSet, Workload/DaemonSet."""
_FIRST_RETRY, _LAST_RETRY = 1.0, 60.0
"""Bounds in seconds of the time between two tries of a patch; each waits as long as all before it together."""


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """What a look came to."""

    status: Mapping[str, Any]
    """status.rollout as it should be, in wire form."""
    again: float | None = None
    """When to look again (seconds since the epoch), None for not before the next publication."""


def published(
    house: House, secret: ExternalSecret, keys: Mapping[str, str], *, replaced: Mapping[str, str] | None = None
) -> dict[str, Any] | None:
    """Return status.rollout after a pass that knows the values, None where rollouts are off.

    Called whether or not the Secret had to be written; see ``domain.rollout.published`` for the arguments.
    """
    wanted = secret.spec.rollout
    if wanted is None:
        return None
    status = rules.published(
        secret.status.rollout,
        keys,
        policy=wanted.policy,
        keyed_by=rules.key_name(house.fingerprint_key),
        now=house.clock.now(),
        replaced=replaced,
    )
    return status.to_wire()


async def follow(house: House, secret: ExternalSecret) -> Progress:
    """Look how far the rollout is, ask for the restarts that are missing, emit what has ended.

    Raises nothing of the domain: what goes wrong with a rollout is no fault of the Secret and its Ready condition.
    """
    status, now = secret.status.rollout or RolloutStatus(), house.clock.now()
    try:
        own = _demand(house, secret, status)
        if own is None or not own.changed:
            return Progress(rules.settled(status, secret.spec.rollout, now=now).to_wire())
        workloads = await house.workloads.list(own.key.namespace)
    except DomainError as error:
        return _unseen(status, error, now=now)
    around = Surroundings(
        demands=[own, *(peer for peer in _demands(house, own.key.namespace) if peer.key != own.key)],
        workloads=workloads,
        refusals=house.refusals,
        key=house.fingerprint_key,
    )
    seen = review(own, status, around, now=now)
    _announce(house, seen)
    for ref, hold in seen.restarts.items():
        if ref in house.refusals:
            continue  # being tried again at a pace of its own
        house.wake(agenda_key(ref), SETTLE if hold is None else max(hold - now, SETTLE))
    return Progress(seen.status.to_wire(), None if seen.due is None else now + seen.due)


def _announce(house: House, seen: Review) -> None:
    for notice in seen.notices:
        _emit(house, notice)
    for result in seen.ended:
        house.signals.rollout_ended(result)


def _unseen(status: RolloutStatus, error: DomainError, *, now: float) -> Progress:
    """Return the progress where the workloads cannot be read: said in the status only if it needs hands."""
    again = now + max(error.retry_after or 0.0, _LAST_RETRY if error.retry.pace is Pace.SLOW else _FIRST_RETRY * 5)
    if isinstance(error, Denied | Misconfigured) and status.message != str(error):
        status = status.model_copy(update={"message": str(error), "observed_at": rules.moment(now)})
    return Progress(status.to_wire(), again)


async def restart(house: House, key: Key) -> float | None:
    """Restart the workload of an agenda key, if some Secret asks for it; return when to try again, None for never.

    The patch is made from a look at the workload as it is now: with nothing missing it is not sent.
    """
    ref = WorkloadRef(key.kind.removeprefix(WORKLOAD), key.namespace, key.name)
    demands = _demands(house, key.namespace)
    asking = [asker for asker in demands if asker.changed]
    if not asking:
        house.refusals.pop(ref, None)
        return None
    now = house.clock.now()
    wanted: Restart | None = None
    try:
        workload = await house.workloads.get(ref)
        if workload is not None:
            wanted = restarts.restart(workload, demands, house.fingerprint_key, now=now)
        if workload is None or wanted is None:
            house.refusals.pop(ref, None)
            return None
        if wanted.not_before is not None:
            return wanted.not_before
        await house.workloads.annotate(workload, wanted.annotations)
    except DomainError as error:
        return _refused(house, ref, asking if wanted is None else _askers(wanted), error, now=now)
    house.refusals.pop(ref, None)
    _started(house, workload, wanted)
    return None


def _started(house: House, workload: Workload, wanted: Restart) -> None:
    """Say which ExternalSecrets' keys restart the workload, and let each follow it."""
    for need in wanted.needs:
        message = f"{workload.ref} restarts: {', '.join(sorted(need.keys))} of Secret {need.secret} changed"
        for asker in need.askers:
            _emit(house, Notice(asker.key, asker.uid, EventReason.ROLLOUT_STARTED, message))
    _look_again(house, _askers(wanted))


def _refused(house: House, ref: WorkloadRef, askers: list[Demand], error: DomainError, *, now: float) -> float:
    """Remember why the restart failed, tell those who asked once, and return when to try again."""
    if error.retry.pace is not Pace.NOW and house.refusals.get(ref) != str(error):
        house.refusals[ref] = str(error)
        _look_again(house, askers)
    if error.retry.pace is Pace.NOW:
        wait = _FIRST_RETRY / 5
    elif error.retry.pace is Pace.SLOW:
        wait = _LAST_RETRY
    else:
        entries = (asker.seen.get((ref.kind, ref.name)) for asker in askers)
        asked = [entry.wanted_at.timestamp() for entry in entries if entry is not None and entry.wanted_at]
        wait = min(max(now - min(asked, default=now), _FIRST_RETRY), _LAST_RETRY)
    return now + max(error.retry_after or 0.0, wait)


def _askers(wanted: Restart) -> list[Demand]:
    return [asker for need in wanted.needs for asker in need.askers]


def _look_again(house: House, askers: list[Demand]) -> None:
    for asker in askers:
        house.memory.update(asker.uid, follow_at=0.0)
        house.wake(asker.key, 0.0)


def _emit(house: House, notice: Notice) -> None:
    house.events.emit(notice.key, uid=notice.uid, reason=notice.reason, message=notice.message, warning=notice.warning)


def agenda_key(ref: WorkloadRef) -> Key:
    """Return the agenda key of a workload."""
    return Key(f"{WORKLOAD}{ref.kind}", ref.namespace, ref.name)


def _demand(house: House, secret: ExternalSecret, status: RolloutStatus | None) -> Demand | None:
    return rules.demand(secret, status, deadline=house.rules.rollout_deadline)


def _demands(house: House, namespace: str) -> list[Demand]:
    """Return what every ExternalSecret of the namespace asks; one that cannot be read asks nothing."""
    found = []
    for key in house.view.external_secrets(namespace):
        try:
            secret = house.view.external_secret(key)
            asker = None if secret is None else _demand(house, secret, secret.status.rollout)
        except (Invalid, Misconfigured):
            continue
        if asker is not None:
            found.append(asker)
    return found
