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
            case = _Case(own, need, workload, around.refusals.get(workload.ref, ""), hold, now)
            entries.append(_applied(case) if need.applied else _unapplied(case))
    entries.extend(_absent(own, {workload.ref for workload in around.workloads}))
    renewed = _status(status, entries, now=now)
    return Review(
        status=renewed,
        notices=_notices(own, status, renewed),
        ended=tuple(str(entry.state).lower() for entry in _ended(status, renewed)),
        restarts=planned,
        due=_due(renewed, planned, own.key.namespace, now=now),
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """One workload in the eyes of one ExternalSecret."""

    own: Demand
    need: Need
    workload: Workload
    refusal: str
    hold: float | None
    now: float

    @property
    def known(self) -> WorkloadStatus | None:
        """What the status says of the workload, for whatever value."""
        return self.own.seen.get((self.workload.ref.kind, self.workload.ref.name))

    def entry(self, state: State, **fields: object) -> WorkloadStatus:
        """Return a new entry of the workload."""
        ref = self.workload.ref
        return WorkloadStatus(kind=ref.kind, name=ref.name, state=state).model_copy(update=fields)


def _applied(case: _Case) -> WorkloadStatus:
    """Return the entry of a workload whose template carries the restart."""
    value, at = case.need.value, moment(case.now)
    seen = case.known if case.known is not None and case.known.wanted == value else None
    if seen is not None and seen.state == State.COMPLETE:
        return seen  # what its pods do later is no part of this rollout
    found = progress.judge(case.workload)
    if found.standing is Standing.DONE:
        began = seen.wanted_at if seen is not None else at
        return case.entry(State.COMPLETE, wanted=value, wanted_at=began, completed_at=at)
    if found.standing is Standing.WAITING:
        # Not noted as seen: if the template is put back before a pod was replaced, it must be restarted again.
        since = case.known.wanted_at if case.known is not None and case.known.state == State.PENDING else at
        wanted = seen.wanted if seen is not None else None
        return case.entry(State.PENDING, wanted=wanted, wanted_at=since, message=found.message)
    if seen is None or seen.state not in (State.PROGRESSING, State.FAILED) or seen.wanted_at is None:
        return case.entry(State.PROGRESSING, wanted=value, wanted_at=at)
    if seen.state == State.FAILED or case.now - seen.wanted_at.timestamp() < case.own.deadline:
        return seen
    limit = duration.render(case.own.deadline)
    message = f"not complete {limit} after it began: {found.message}; look at its new pods"
    return case.entry(State.FAILED, wanted=value, wanted_at=seen.wanted_at, message=message)


def _unapplied(case: _Case) -> WorkloadStatus:
    """Return the entry of a workload that is still to be restarted. Its deadline starts when it may be."""
    need, known, asked = case.need, case.known, case.now
    if known is not None and known.wanted is None and known.wanted_at is not None:
        asked = max(known.wanted_at.timestamp(), case.own.published_at)
    late = case.now - asked >= case.own.deadline and case.hold is None
    if need.lacking:
        lost = ", ".join(sorted(need.lacking))
        remedy = "put it back or drop the reference"
        message = f"not restarted: its pods need {lost}, which Secret {need.secret} no longer has; {remedy}"
    elif case.hold is not None:
        asked = max(asked, case.hold)
        message = f"minInterval allows its next restart at {rfc3339(case.hold)}"
    else:
        message = f"restart failed, tried again: {case.refusal}" if case.refusal else "its restart is asked for"
    return case.entry(State.FAILED if late else State.PENDING, wanted_at=moment(asked), message=message)


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
            # The restart itself wakes us; this look is for the case that nothing came of it, or that the list was old.
            wait = max((planned[ref] or now) - now, 0.0)
            dues.append(wait + min(max(since, _SHORTEST * 3), _LONGEST))
        elif entry.state == State.PENDING:
            dues.append(_HANDS)
    return min(dues, default=_HEALING)
