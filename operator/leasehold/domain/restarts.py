"""What one workload needs for the sake of every Secret that it takes, and the one patch that gives it.

The wanted state is an annotation of the pod template per Secret, a keyed HMAC over the fingerprints of the keys that
the workload takes (requirement B16): two patches with the same values are one, and nobody can confirm a guessed
value from a workload. A time is noted beside it for minInterval; it never is the reason of a restart. Pure.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from leasehold.api.rollout import RolloutPolicy
from leasehold.domain.consumers import ALL, NONE, NOT_CONSUMED, Consumption, KeySet, consumptions
from leasehold.domain.facts import Workload, WorkloadRef
from leasehold.domain.rollout import Demand, rfc3339
from leasehold.domain.values import SecretBytes, fingerprint

PREFIX = "rollout.leasehold.dev/"
RESTARTED_AT = f"{PREFIX}restarted-at"
_NAME_LIMIT = 63
_YOUNG = 60.0
"""Seconds by which a workload must be younger than a publication to count as started after it: clocks differ."""
_SKEW = 60.0
"""A restart noted further ahead of our clock than this is not believed."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one workload needs for the sake of one Secret."""

    secret: str
    annotation: str
    value: str
    """The annotation wanted."""
    askers: tuple[Demand, ...]
    """The ExternalSecrets behind it: more than one where several write into one Secret."""
    keys: frozenset[str]
    """Changed keys that the workload takes."""
    applied: bool
    """The restart has been asked of the workload: only its progress is of interest now."""
    lacking: frozenset[str]
    """Keys that were taken out of the Secret though new pods would not start without them."""

    @property
    def open(self) -> bool:
        """Tell whether the workload is still to be restarted."""
        return not self.applied and not self.lacking


@dataclass(frozen=True, slots=True)
class Restart:
    """One patch of one workload that serves every Secret at once."""

    annotations: Mapping[str, str]
    """All our annotations, those that stay included: a server-side apply removes what it leaves out."""
    needs: tuple[Need, ...]
    not_before: float | None
    """When minInterval allows it, None for now."""


def taken(asker: Demand, ref: WorkloadRef, consumed: Consumption) -> KeySet:
    """Return the keys whose change restarts the workload, under the policy and targets of the ExternalSecret.

    Auto: frozen keys. Always: every key that the pod takes. A workload that is named in targets but takes nothing
    by reference reads the Secret in a way that cannot be seen here, so any key counts, under both policies.
    """
    named = (ref.kind, ref.name) in asker.targets
    if asker.policy is RolloutPolicy.NEVER or (asker.targets and not named):
        return NONE
    if not consumed:
        return ALL if named else NONE
    return consumed.frozen if asker.policy is RolloutPolicy.AUTO else consumed.frozen | consumed.visible


def needs(workload: Workload, demands: Iterable[Demand], key: SecretBytes) -> tuple[Need, ...]:
    """Return what the workload needs, one entry per Secret with a changed key that it takes.

    ``demands`` are all of the namespace, finished ones included: where several ExternalSecrets write into one
    Secret, the annotation stands for the keys of all of them.
    """
    consumed = consumptions(workload.pod_spec)
    by_secret: dict[str, list[Demand]] = {}
    for asker in demands:
        by_secret.setdefault(asker.secret, []).append(asker)
    found = (
        _need(workload, secret, sorted(group, key=lambda asker: asker.key), consumed.get(secret, NOT_CONSUMED), key)
        for secret, group in sorted(by_secret.items())
    )
    return tuple(need for need in found if need is not None)


def _need(
    workload: Workload, secret: str, group: Sequence[Demand], consumed: Consumption, key: SecretBytes
) -> Need | None:
    ref = workload.ref
    asked = {asker.key: taken(asker, ref, consumed).among(asker.changed) for asker in group}
    askers = tuple(asker for asker in group if asked[asker.key] and not _younger(workload, asker))
    if not askers:
        return None
    value = _wanted(workload, secret, group, consumed, key)
    annotation = annotation_name(secret)
    gone = {name for asker in group for name in asker.changed} - {name for asker in group for name in asker.keys}
    return Need(
        secret=secret,
        annotation=annotation,
        value=value,
        askers=askers,
        keys=frozenset().union(*(asked[asker.key] for asker in askers)),
        applied=workload.pod_annotations.get(annotation) == value or _was_applied(ref, group, value),
        lacking=consumed.required & gone,
    )


def _younger(workload: Workload, asker: Demand) -> bool:
    return workload.created_at > asker.published_at + _YOUNG


def _was_applied(ref: WorkloadRef, group: Iterable[Demand], value: str) -> bool:
    """Tell whether pods were seen to be replaced for this value.

    Whoever took the annotation away since has changed the template, so its pods were created anew and read the
    present value. Setting it again would fight with an undo or a deployment tool, restart by restart.
    """
    entries = (asker.seen.get((ref.kind, ref.name)) for asker in group)
    return any(entry is not None and entry.wanted == value for entry in entries)


def _wanted(workload: Workload, secret: str, group: Iterable[Demand], consumed: Consumption, key: SecretBytes) -> str:
    # Who published last knows all keys best: with creationPolicy Merge each object notes those of the others too.
    shares = {
        name: asker.keys[name]
        for asker in sorted(group, key=lambda asker: asker.published_at)
        for name in taken(asker, workload.ref, consumed).among(asker.keys)
    }
    words = ("rollout", secret, *(word for name in sorted(shares) for word in (name, shares[name])))
    return fingerprint(key, *(word.encode() for word in words))


def restart(workload: Workload, demands: Sequence[Demand], key: SecretBytes, *, now: float) -> Restart | None:
    """Return the one patch that serves every Secret, None where nothing is to be done.

    Nothing is done while some changed Secret lacks a key without which new pods would not start.
    """
    wanted = needs(workload, demands, key)
    to_do = tuple(need for need in wanted if need.open)
    if not to_do or any(need.lacking for need in wanted):
        return None
    ours = {name: value for name, value in workload.pod_annotations.items() if name.startswith(PREFIX)}
    return Restart(
        annotations={**ours, **{need.annotation: need.value for need in to_do}, RESTARTED_AT: rfc3339(now)},
        needs=to_do,
        not_before=not_before(workload, demands, now=now),
    )


def not_before(workload: Workload, demands: Iterable[Demand], *, now: float) -> float | None:
    """Return when the workload may be restarted next, None for now.

    The longest minInterval among all ExternalSecrets that restart this workload counts, whichever of them was the
    reason of the last restart. Absent means none.
    """
    last = restarted_at(workload)
    if last is None or last > now + _SKEW:
        return None
    consumed = consumptions(workload.pod_spec)
    concerned = (
        asker.min_interval
        for asker in demands
        if asker.min_interval and taken(asker, workload.ref, consumed.get(asker.secret, NOT_CONSUMED))
    )
    due = last + max(concerned, default=0.0)
    return due if due > now else None


def restarted_at(workload: Workload) -> float | None:
    """Return the time of our last restart in seconds since the epoch, None without one."""
    text = workload.pod_annotations.get(RESTARTED_AT, "")
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.timestamp() if at.tzinfo else None


def annotation_name(secret: str) -> str:
    """Return the annotation of a Secret. Long names are cut and told apart by a digest; "_" is in no Secret's name."""
    name = secret
    if len(secret) > _NAME_LIMIT or f"{PREFIX}{secret}" == RESTARTED_AT:
        digest = hashlib.sha256(secret.encode()).hexdigest()[:12]
        name = f"{secret[: _NAME_LIMIT - 13]}_{digest}"
    return f"{PREFIX}{name}"
