"""Render, want, compare, write: from values to the target Secret, with a write only where something differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from leasehold.api.externalsecret import ExternalSecret
from leasehold.api.target import CreationPolicy, DeletionPolicy
from leasehold.domain import changes, desired, report
from leasehold.domain.changes import Owned, Taken
from leasehold.domain.decide import Facts
from leasehold.domain.desired import Shape
from leasehold.domain.errors import Conflict, DomainError, Misconfigured
from leasehold.domain.facts import Controller, LiveSecret, Target, WantedSecret, Written
from leasehold.domain.reasons import EventReason, ReadyReason, Why
from leasehold.domain.report import Outcome, Stage
from leasehold.domain.values import SecretMap, fingerprint_values
from leasehold.flows import look
from leasehold.flows.house import House
from leasehold.template import plain


class Staged(Exception):
    """A domain error with the stage in which it happened: ESO's message for it."""

    def __init__(self, stage: Stage, error: DomainError) -> None:
        """Take both."""
        super().__init__(str(error))
        self.stage, self.error = stage, error


@dataclass(frozen=True, slots=True)
class Published:
    """The outcome, and the data that the Secret holds now (None where it was left alone)."""

    outcome: Outcome
    data: SecretMap | None = None
    replaced: SecretMap | None = None
    """What an existing Secret held before, where it was read and then written."""


async def publish(house: House, facts: Facts, values: SecretMap, why: Why) -> Published:
    """Make the target true to the values.

    Raises:
        Staged: rendering, ownership or the write failed; the Secret keeps its last good data.
    """
    secret, now = facts.secret, house.clock.now()
    policy = secret.spec.target.creation_policy
    if policy is CreationPolicy.NONE:
        return Published(_synced(report.SYNCED, why, now))
    if not values and secret.spec.target.deletion_policy is not DeletionPolicy.MERGE:
        return await _empty(house, facts, why)
    try:
        shape = plain.render(secret, values)
    except DomainError as error:
        raise Staged(Stage.TEMPLATE, error) from None
    try:
        return await _write(house, facts, shape, why)
    except Staged:
        raise
    except DomainError as error:
        raise Staged(_stage(error), error) from None


def _stage(error: DomainError) -> Stage:
    if isinstance(error, Owned):
        return Stage.OWNED
    return Stage.TAKEN if isinstance(error, Taken) else Stage.WRITE


def _synced(message: str, why: Why, now: float, reason: ReadyReason = ReadyReason.SYNCED) -> Outcome:
    return Outcome(ready=True, reason=reason, message=message, why=why, refreshed_at=now)


async def _empty(house: House, facts: Facts, why: Why) -> Published:
    """Do what the deletion policy says when the sources give nothing at all."""
    secret, now = facts.secret, house.clock.now()
    if secret.spec.target.deletion_policy is DeletionPolicy.RETAIN:
        return Published(_synced(report.RETAINED, why, now))
    if not desired.owns(secret):
        error = Misconfigured(
            "deletionPolicy Delete needs creationPolicy Owner", path="spec.target", remedy="change one of the two"
        )
        raise Staged(Stage.DELETE, error)
    if facts.target is not None:
        _refuse_foreign(secret, facts.target)
        await _delete(house, secret, desired.target_name(secret), facts.target)
    return Published(_synced(report.DELETED, why, now, ReadyReason.DELETED))


def _refuse_foreign(secret: ExternalSecret, target: Target) -> None:
    """Raise where the target to be deleted is controlled by somebody else."""
    owner = target.controller
    if owner is None or (owner.group, owner.kind, owner.name) == (desired.GROUP, desired.KIND, secret.metadata.name):
        return
    stage = Stage.OWNED if (owner.group, owner.kind) == (desired.GROUP, desired.KIND) else Stage.TAKEN
    error = Misconfigured(
        f"it belongs to {owner.kind} {owner.name} and is not deleted",
        path=f"Secret {secret.metadata.namespace}/{desired.target_name(secret)}",
        remedy="use another target.name",
    )
    raise Staged(stage, error)


async def _delete(house: House, secret: ExternalSecret, name: str, target: Target) -> None:
    namespace = secret.metadata.namespace or ""
    try:
        await house.secrets.delete(namespace, name, uid=target.uid)
    except DomainError as error:
        raise Staged(Stage.DELETE, error) from None
    house.note_target(namespace, name, None)
    _tell(house, secret, EventReason.DELETED, f"Secret {name} deleted")


async def _write(house: House, facts: Facts, shape: Shape, why: Why) -> Published:
    secret, target = facts.secret, facts.target
    if target is not None and _unchanged(facts, shape, target, why):
        return _done(house, facts, shape.data, why, version=target.resource_version)
    live: LiveSecret | None = None
    must_look = target is not None or secret.spec.target.creation_policy is CreationPolicy.MERGE
    if not must_look:
        try:
            return await _create(house, facts, shape, why)
        except Conflict:
            pass  # it exists without our label: look at it
    namespace, name = secret.metadata.namespace or "", desired.target_name(secret)
    live = await house.secrets.get(namespace, name)
    if live is None:
        if target is not None:
            house.note_target(namespace, name, None)  # its deletion has not been heard yet
        if secret.spec.target.creation_policy is CreationPolicy.MERGE:
            return Published(_synced(report.MISSING, why, house.clock.now(), ReadyReason.MISSING))
        return await _create(house, facts, shape, why)
    return await _replace(house, facts, shape, live, why)


def _unchanged(facts: Facts, shape: Shape, target: Target, why: Why) -> bool:
    """Tell without a request that nothing is to be written: the Secret is the one that we know to be right."""
    if why in (Why.SPEC_CHANGED, Why.FIRST_SYNC, Why.TARGET_CHANGED) or desired.merges(facts.secret):
        return False
    if plain.varies(facts.secret):
        return False
    known = (facts.memo.target_version, facts.secret.status.target_resource_version)
    return target.resource_version in known and target.data_hash == desired.data_hash(shape.data)


async def _create(house: House, facts: Facts, shape: Shape, why: Why) -> Published:
    wanted = changes.change(facts.secret, shape, None).wanted
    written = await house.secrets.create(wanted)
    _note(house, facts.secret, wanted, written)
    _tell_written(house, facts.secret, why, created=True)
    return _done(house, facts, wanted.data, why, version=written.resource_version, wrote=True)


async def _replace(house: House, facts: Facts, shape: Shape, live: LiveSecret, why: Why) -> Published:
    secret = facts.secret
    change = changes.change(secret, shape, live)
    version, wrote = live.resource_version, False
    if change.needed:
        written = await house.secrets.replace(change.wanted)
        _note(house, secret, change.wanted, written)
        _tell_written(house, secret, why, created=False)
        version, wrote = written.resource_version, True
    else:
        _note(house, secret, change.wanted, Written(str(live.metadata.get("uid", "")), version))
    if change.held_back:
        error = Misconfigured(
            "it keeps its old data",
            path=f"Secret {secret.metadata.namespace}/{desired.target_name(secret)}",
            remedy="delete the Secret, or set target.immutable to false before it is made",
        )
        raise Staged(Stage.IMMUTABLE, error)
    done = _done(house, facts, change.wanted.data, why, version=version, wrote=wrote)
    return replace(done, replaced=live.data) if wrote else done


def _done(house: House, facts: Facts, data: SecretMap, why: Why, *, version: str, wrote: bool = False) -> Published:
    house.memory.update(facts.secret.metadata.uid, target_version=version)
    outcome = Outcome(
        ready=True,
        reason=ReadyReason.SYNCED,
        message=report.SYNCED,
        why=why,
        refreshed_at=house.clock.now(),
        wrote=wrote,
        binding=True,
        target_version=version,
        values=fingerprint_values(house.fingerprint_key, data) if wrote else "",
    )
    return Published(outcome, data)


def _note(house: House, secret: ExternalSecret, wanted: WantedSecret, written: Written) -> None:
    """Tell the mirror what we wrote, so that the next look does not wait for the echo."""
    controller = next((ref for ref in wanted.owner_references if ref.get("controller")), None)
    house.note_target(
        wanted.namespace,
        wanted.name,
        Target(
            uid=written.uid,
            resource_version=written.resource_version,
            managed=True,
            data_hash=wanted.annotations.get(desired.ANNOTATION_HASH, ""),
            created_by=wanted.labels.get(desired.LABEL_CREATED_BY, ""),
            controller=_controller(controller) if controller is not None else None,
        ),
    )
    house.memory.update(secret.metadata.uid, target_version=written.resource_version)


def _controller(ref: Mapping[str, Any]) -> Controller:
    group = str(ref.get("apiVersion", "")).rpartition("/")[0]
    return Controller(group, str(ref.get("kind", "")), str(ref.get("name", "")), str(ref.get("uid", "")))


def _tell_written(house: House, secret: ExternalSecret, why: Why, *, created: bool) -> None:
    name = desired.target_name(secret)
    if why in report.DRIFT:
        _tell(house, secret, EventReason.REPAIRED, f"Secret {name} was changed or deleted by hand and put right")
    elif created:
        _tell(house, secret, EventReason.CREATED, f"Secret {name} created")
    else:
        _tell(house, secret, EventReason.UPDATED, f"Secret {name} updated ({why.value})")


def _tell(house: House, secret: ExternalSecret, reason: EventReason, message: str) -> None:
    house.events.emit(look.key_of(secret), uid=secret.metadata.uid, reason=reason, message=message)


async def delete_orphans(house: House, secret: ExternalSecret) -> None:
    """Delete Secrets that this object made under an earlier target name.

    Raises:
        Staged: one could not be deleted.
    """
    if not desired.owns(secret):
        return
    namespace = secret.metadata.namespace or ""
    for name, target in house.view.targets_created_by(namespace, desired.created_by(namespace, secret.metadata.name)):
        if name == desired.target_name(secret) or target.deleting:
            continue
        try:
            await _delete(house, secret, name, target)
        except Staged as staged:
            raise Staged(Stage.ORPHANS, staged.error) from None


def _refuse_immutable(secret: ExternalSecret, live: LiveSecret) -> None:
    if live.immutable:
        error = Misconfigured(
            "a new credential could not be written to it",
            path=f"Secret {secret.metadata.namespace}/{desired.target_name(secret)}",
            remedy="delete the Secret, and set target.immutable to false for leased values",
        )
        raise Staged(Stage.IMMUTABLE, error)


async def check_before_mint(house: House, secret: ExternalSecret) -> None:
    """Raise what would keep a new credential from being published: a foreign target, a template beyond us.

    Raises:
        Staged: nothing should be minted.
    """
    try:
        plain.check(secret)
    except DomainError as error:
        raise Staged(Stage.TEMPLATE, error) from None
    if secret.spec.target.creation_policy is CreationPolicy.NONE:
        return
    try:
        live = await house.secrets.get(secret.metadata.namespace or "", desired.target_name(secret))
        if live is not None:
            changes.check_owner(secret, live)
            _refuse_immutable(secret, live)
    except DomainError as error:
        raise Staged(_stage(error), error) from None
