"""What a publication does to ``status.rollout``, and what one ExternalSecret asks of the workloads around it.

The status remembers the fingerprint of every key and which keys changed since the last complete rollout: desired
state, so that whatever happens while the operator is down is found by comparing. Who is restarted for it is decided
in ``restarts``, how far that has come in ``progress`` and ``review``. Pure: no clock, no cluster.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from leasehold.api import duration
from leasehold.api.externalsecret import ExternalSecret
from leasehold.api.rollout import Rollout, RolloutPolicy
from leasehold.api.status import RolloutStatus, WorkloadStatus
from leasehold.domain import desired
from leasehold.domain.errors import Misconfigured
from leasehold.domain.facts import Key
from leasehold.domain.values import SecretBytes, fingerprint

DEADLINE = 600.0
"""Default of spec.rollout.deadline, in seconds."""


class State(StrEnum):
    """State of a rollout and of each of its workloads."""

    COMPLETE = "Complete"
    """Every workload that takes a changed key runs with its present value."""
    PENDING = "Pending"
    """A restart is asked for, held back by minInterval, or waits for somebody's hands."""
    PROGRESSING = "Progressing"
    """Pods are being replaced."""
    FAILED = "Failed"
    """Not complete by the deadline. Still watched: it may heal."""
    DISABLED = "Disabled"
    """The policy is Never: nobody is restarted."""
    NOT_FOUND = "NotFound"
    """A workload that spec.rollout.targets names does not exist; nothing waits for it."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one ExternalSecret asks of the workloads of its namespace."""

    key: Key
    uid: str
    secret: str
    """Name of the Secret."""
    policy: RolloutPolicy
    targets: frozenset[tuple[str, str]]
    """Kind and name of the only workloads to look at; empty for all."""
    keys: Mapping[str, str]
    """Key of the Secret -> keyed fingerprint of its value."""
    changed: frozenset[str]
    """Keys changed since the last complete rollout; empty where none is under way."""
    published_at: float
    min_interval: float
    deadline: float
    seen: Mapping[tuple[str, str], WorkloadStatus]
    """What the status says of each workload."""


def published(
    previous: RolloutStatus | None,
    fingerprints: Mapping[str, str],
    *,
    policy: RolloutPolicy,
    keyed_by: str,
    now: float,
    replaced: Mapping[str, str] | None = None,
) -> RolloutStatus:
    """Return status.rollout after a pass that knows the values, whether or not it had to write the Secret.

    The status is compared, not the Secret: a crash between the two writes is caught up by the next pass. With the
    same fingerprints ``previous`` itself is returned. The first publication asks for nothing, since pods that need
    a Secret cannot start before it is there; where the Secret was there (creationPolicy Merge, a Secret of another
    owner before), ``replaced`` gives the fingerprints of what it held.

    ``fingerprints`` come from ``values.fingerprint_each``, ``keyed_by`` names the key that made them (``key_name``):
    other fingerprints under another key are no change.
    """
    keys = dict(sorted(fingerprints.items()))
    noted = {"keys": keys, "keyed_by": keyed_by, "observed_at": moment(now)}
    if policy is RolloutPolicy.NEVER:
        if previous and (previous.state, previous.keys, previous.keyed_by) == (State.DISABLED, keys, keyed_by):
            return previous
        return RolloutStatus(state=State.DISABLED).model_copy(update=noted)
    noted["published_at"] = moment(now)
    if previous is None or previous.state in (None, State.DISABLED):
        before = replaced if replaced is not None and previous is None else keys
        changed = {name for name in keys.keys() & before.keys() if keys[name] != before[name]}
        first = RolloutStatus(state=State.COMPLETE).model_copy(update=noted)
        return first.model_copy(update=_pending(changed)) if changed else first
    if previous.keyed_by is not None and previous.keyed_by != keyed_by:
        return previous.model_copy(update={"keys": keys, "keyed_by": keyed_by})
    changed = {name for name in keys.keys() | previous.keys.keys() if keys.get(name) != previous.keys.get(name)}
    if not changed:
        return previous
    return previous.model_copy(update=noted | _pending(changed.union(previous.changed)) | {"message": None})


def _pending(changed: Iterable[str]) -> dict[str, object]:
    return {"state": State.PENDING, "changed": tuple(sorted(changed))}


def settled(status: RolloutStatus, wanted: Rollout | None, *, now: float) -> RolloutStatus:
    """Return the status of a rollout that asks nothing (any more), such as after the policy became Never."""
    state = State.COMPLETE if wanted is not None and wanted.policy is not RolloutPolicy.NEVER else State.DISABLED
    if status.state == state and not status.changed:
        return status
    return status.model_copy(update={"state": state, "changed": (), "message": None, "observed_at": moment(now)})


def key_name(key: SecretBytes) -> str:
    """Return the name of the fingerprint key that ``published`` takes: it tells keys apart and gives none away."""
    return fingerprint(key, b"fingerprint key")


def demand(secret: ExternalSecret, status: RolloutStatus | None, *, deadline: float = DEADLINE) -> Demand | None:
    """Return what the object asks, None where it has no rollout or its policy is Never.

    Args:
        secret: the object; its own status is not looked at.
        status: status.rollout, as just published or as last heard.
        deadline: seconds where spec.rollout.deadline is absent.

    Raises:
        Misconfigured: a duration of spec.rollout is none.
    """
    wanted = secret.spec.rollout
    if wanted is None or wanted.policy is RolloutPolicy.NEVER or status is None or status.state == State.DISABLED:
        return None
    namespace = secret.metadata.namespace or ""
    return Demand(
        key=Key(desired.KIND, namespace, secret.metadata.name),
        uid=secret.metadata.uid,
        secret=desired.target_name(secret),
        policy=wanted.policy,
        targets=frozenset((target.kind.value, target.name) for target in wanted.targets),
        keys=status.keys,
        changed=frozenset(status.changed),
        published_at=status.published_at.timestamp() if status.published_at else 0.0,
        min_interval=_seconds(wanted.min_interval, "minInterval", 0.0),
        deadline=_seconds(wanted.deadline, "deadline", deadline),
        seen={(entry.kind, entry.name): entry for entry in status.workloads},
    )


def _seconds(text: str | None, field: str, default: float) -> float:
    if not text:
        return default
    try:
        return duration.parse(text)
    except ValueError as error:
        raise Misconfigured(
            f"invalid duration: {error}", path=f"spec.rollout.{field}", remedy="write 10m or 1h30m"
        ) from None


def moment(now: float) -> dt.datetime:
    """Return a time as the status carries it: UTC, whole seconds."""
    return dt.datetime.fromtimestamp(int(now), dt.UTC)


def rfc3339(now: float) -> str:
    """Return a time as annotations carry it."""
    return moment(now).strftime("%Y-%m-%dT%H:%M:%SZ")
