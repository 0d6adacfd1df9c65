"""What becomes of one ExternalSecret's ``status.rollout`` when the workloads around it are looked at.

Judges and plans only: the restarts that it names are done by the flow, one workload at a time for all Secrets.
Nothing here depends on having seen an earlier step; a look after an hour of absence comes to the same end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from leasehold.api import duration
from leasehold.api.rollout import WorkloadKind
from leasehold.api.status import RolloutStatus, WorkloadStatus
from leasehold.domain import progress, restarts
from leasehold.domain.facts import Key, Workload, WorkloadRef
from leasehold.domain.progress import Standing
from leasehold.domain.reasons import EventReason
from leasehold.domain.restarts import Need
from leasehold.domain.rollout import Demand, State, moment, rfc3339
from leasehold.domain.values import SecretBytes

ENTRIES = 256
"""Most entries of status.rollout.workloads."""
_SHORTEST, _LONGEST = 1.0, 15.0
"""Bounds in seconds of the time between two looks while pods are replaced; a fifth of the time gone by within."""
_HANDS = 30.0
"""Seconds between two looks while somebody's hands are waited for."""
_HEALING = 60.0
"""Seconds between two looks after the deadline: a failed rollout may heal."""
_URGENCY = (State.FAILED, State.PROGRESSING, State.PENDING)
_FINISHED = (State.COMPLETE, State.NOT_FOUND)


@dataclass(frozen=True, slots=True)
class Notice:
    """An event to be emitted about an ExternalSecret."""

    key: Key
    uid: str
    reason: EventReason
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Review:
    """The outcome of one look."""

    status: RolloutStatus
    """The very status that went in where nothing has changed."""
    notices: tuple[Notice, ...] = ()
    ended: tuple[str, ...] = ()
    """complete | failed, one for each workload whose restart has ended since the last look."""
    restarts: Mapping[WorkloadRef, float | None] = field(default_factory=dict)
    """Workloads to restart -> not before this time, None for now."""
    due: float | None = None
    """Seconds until the next look, None for none."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a look takes into account beside the ExternalSecret itself."""

    demands: Sequence[Demand]
    """Of the whole namespace, the own one included."""
    workloads: Sequence[Workload]
    refusals: Mapping[WorkloadRef, str]
    """Why the last try to restart a workload failed."""
    key: SecretBytes
    """Key of the fingerprints."""


def review(own: Demand, status: RolloutStatus, around: Surroundings, *, now: float) -> Review:
    """Return the new status, the events it is worth, the restarts that are wanted, and when to look again.

    ``status`` is the one that ``own`` was made from. A rollout that is under way is followed to its end; for a
    finished one (no changed keys) there is nothing to do.
    """
    if not own.changed:
        return Review(status)
    group = [asker for asker in around.demands if asker.secret == own.secret]
    entries: list[WorkloadStatus] = []
    planned: dict[WorkloadRef, float | None] = {}
    for workload in sorted(around.workloads, key=lambda each: (each.ref.kind, each.ref.name)):
        for need in restarts.needs(workload, group, around.key):
            if all(asker.key != own.key for asker in need.askers):
                continue
            hold = restarts.not_before(workload, around.demands, now=now) if need.open else None
            if need.open:
                planned[workload.ref] = hold
            entries.append(_entry(own, need, workload, around.refusals.get(workload.ref, ""), hold=hold, now=now))
    entries.extend(_absent(own, {workload.ref for workload in around.workloads}))
    renewed = _status(status, entries, now=now)
    return Review(
        status=renewed,
        notices=_notices(own, status, renewed),
        ended=tuple(str(entry.state).lower() for entry in _ended(status, renewed)),
        restarts=planned,
        due=_due(renewed, planned, own.key.namespace, now=now),
    )


def _entry(
    own: Demand, need: Need, workload: Workload, refusal: str, *, hold: float | None, now: float
) -> WorkloadStatus:
    seen = own.seen.get((workload.ref.kind, workload.ref.name))
    if not need.applied:
        return _unapplied(own, need, workload, seen, refusal=refusal, hold=hold, now=now)
    if seen is None or seen.wanted != need.value:
        seen = None
    if seen is not None and seen.state == State.COMPLETE:
        return seen  # what its pods do later is no part of this rollout
    found = progress.judge(workload)
    entry = WorkloadStatus(kind=workload.ref.kind, name=workload.ref.name, wanted=need.value, wanted_at=moment(now))
    if found.standing is Standing.DONE:
        began = seen.wanted_at if seen is not None else entry.wanted_at
        return _with(entry, state=State.COMPLETE, wanted_at=began, completed_at=moment(now))
    if found.standing is Standing.WAITING:
        # Not noted as seen: if the template is put back before a pod was replaced, it must be restarted again.
        known = seen.wanted if seen is not None else None
        asked = own.seen.get((workload.ref.kind, workload.ref.name))
        since = asked.wanted_at if asked is not None and asked.state == State.PENDING else entry.wanted_at
        return _with(entry, state=State.PENDING, wanted=known, wanted_at=since, message=found.message)
    if seen is None or seen.state not in (State.PROGRESSING, State.FAILED) or seen.wanted_at is None:
        return _with(entry, state=State.PROGRESSING)
    if seen.state == State.FAILED or now - seen.wanted_at.timestamp() < own.deadline:
        return seen
    message = f"not complete {duration.render(own.deadline)} after it began: {found.message}; look at its new pods"
    return _with(seen, state=State.FAILED, message=message)


def _unapplied(
    own: Demand,
    need: Need,
    workload: Workload,
    seen: WorkloadStatus | None,
    *,
    refusal: str,
    hold: float | None,
    now: float,
) -> WorkloadStatus:
    """Return the entry of a workload that has not been restarted yet. Its deadline starts when it may be."""
    asked = now
    if seen is not None and seen.wanted is None and seen.wanted_at is not None:
        asked = max(seen.wanted_at.timestamp(), own.published_at)
    late = now - asked >= own.deadline and hold is None
    if need.lacking:
        lost = ", ".join(sorted(need.lacking))
        message = f"not restarted: its pods need {lost}, which Secret {need.secret} no longer has; put it back or drop"
        message += " the reference"
    elif hold is not None:
        message, asked = f"minInterval allows its next restart at {rfc3339(hold)}", max(asked, hold)
    else:
        message = f"restart failed, tried again: {refusal}" if refusal else "its restart is asked for"
    return WorkloadStatus(
        kind=workload.ref.kind,
        name=workload.ref.name,
        state=State.FAILED if late else State.PENDING,
        wanted_at=moment(asked),
        message=message,
    )


def _with(entry: WorkloadStatus, **fields: object) -> WorkloadStatus:
    return entry.model_copy(update=fields)


def _absent(own: Demand, there: set[WorkloadRef]) -> Iterable[WorkloadStatus]:
    """Yield the targets that were not found. What cannot be restarted cannot be vouched for either: it has failed."""
    for kind, name in sorted(own.targets):
        if kind == WorkloadKind.ROLLOUT:
            message = "a Rollout of Argo is not restarted by this version; restart it and take it out of the targets"
            yield WorkloadStatus(kind=kind, name=name, state=State.FAILED, message=message)
        elif WorkloadRef(kind, own.key.namespace, name) not in there:
            yield WorkloadStatus(kind=kind, name=name, state=State.NOT_FOUND, message="there is no such workload")


def _status(status: RolloutStatus, entries: Sequence[WorkloadStatus], *, now: float) -> RolloutStatus:
    states = {entry.state for entry in entries}
    state = next((state for state in _URGENCY if state in states), State.COMPLETE)
    if len(entries) > ENTRIES:
        entries = sorted(entries, key=lambda entry: entry.state in _FINISHED)[:ENTRIES]
    fields: dict[str, object] = {"state": state, "workloads": tuple(entries), "message": None}
    if state is State.COMPLETE:
        fields |= {"changed": (), "completed_at": moment(now)}
    if all(getattr(status, field) == value for field, value in fields.items()):
        return status
    return status.model_copy(update=fields | {"observed_at": moment(now)})


def _ended(before: RolloutStatus, after: RolloutStatus) -> list[WorkloadStatus]:
    """Return the entries that have come to an end; one that failed and heals ends twice."""
    known = {(entry.kind, entry.name, entry.state, entry.wanted, entry.wanted_at) for entry in before.workloads}
    return [
        entry
        for entry in after.workloads
        if entry.state in (State.COMPLETE, State.FAILED)
        and (entry.kind, entry.name, entry.state, entry.wanted, entry.wanted_at) not in known
    ]


def _notices(own: Demand, before: RolloutStatus, after: RolloutStatus) -> tuple[Notice, ...]:
    notices = []
    for entry in _ended(before, after):
        if entry.state == State.FAILED:
            text = f"{entry.kind} {own.key.namespace}/{entry.name}: {entry.message}"
            notices.append(Notice(own.key, own.uid, EventReason.ROLLOUT_FAILED, text, warning=True))
    done = [f"{entry.kind} {entry.name}" for entry in after.workloads if entry.state == State.COMPLETE]
    if after.state == State.COMPLETE and done:
        text = f"{_listed(done)} run with the present {_listed(sorted(own.changed))} of Secret {own.secret}"
        notices.append(Notice(own.key, own.uid, EventReason.ROLLOUT_COMPLETE, text))
    return tuple(notices)


def _listed(words: Sequence[str], limit: int = 5) -> str:
    """Return the first words and the number of the others, for events are short."""
    rest = len(words) - limit
    return ", ".join(words[:limit]) + (f" and {rest} more" if rest > 0 else "")


def _due(
    status: RolloutStatus, planned: Mapping[WorkloadRef, float | None], namespace: str, *, now: float
) -> float | None:
    """Return the seconds until the next look: soon at first, then at a fifth of the time gone by."""
    if status.state == State.COMPLETE:
        return None
    dues = [_HEALING] if status.state == State.FAILED else []
    for entry in status.workloads:
        since = max(now - entry.wanted_at.timestamp(), 0.0) if entry.wanted_at else 0.0
        ref = WorkloadRef(entry.kind, namespace, entry.name)
        if entry.state == State.PROGRESSING:
            dues.append(min(max(since / 5, _SHORTEST), _LONGEST))
        elif ref in planned:
            # The restart itself wakes us; this look is for the case that nothing came of it.
            dues.append(max((planned[ref] or now) - now, 0.0) + _LONGEST)
        elif entry.state == State.PENDING:
            dues.append(_HANDS)
    return min(dues, default=_HEALING)
