"""One pass over one ExternalSecret: look, decide, act, report. The only ``try`` of the pass is here."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Any

from leasehold.api.externalsecret import ExternalSecret
from leasehold.api.parse import Invalid
from leasehold.domain import decide, desired, report, sources, transitions
from leasehold.domain.decide import Act, Facts, Verdict
from leasehold.domain.errors import DomainError, Misconfigured, Pace, Unavailable
from leasehold.domain.facts import Key
from leasehold.domain.lease import LeaseRecord
from leasehold.domain.reasons import EventReason, Why
from leasehold.domain.report import Outcome, Stage
from leasehold.domain.sources import Entry
from leasehold.domain.upkeep import Step
from leasehold.domain.values import SecretMap, fingerprint_each
from leasehold.flows import fetch, holding, leasing, look, minting, publish, release, rollout
from leasehold.flows.house import House
from leasehold.flows.publish import Staged

UNCHECKED = 30.0
"""Seconds to wait for the first check of a store; its result wakes us earlier."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an act came to: what to report, and when to look again at the latest."""

    outcome: Outcome | None = None
    rollout: dict[str, Any] | None = None
    again: float | None = None
    """Time of the next look; None leaves it to the next verdict."""


async def sync(house: House, key: Key) -> float | None:
    """Make one pass and return when the next one is due (seconds since the epoch), None for never."""
    try:
        secret = house.view.external_secret(key)
    except Invalid as error:
        return await _refuse(house, key, error)
    if secret is None:
        return await release.gone(house, key)
    if house.memory.named(key, secret.metadata.uid):
        await release.forerunners(house, key, secret.metadata.uid)
    found = _entries(secret)
    if secret.metadata.deletion_timestamp is not None or not look.ours(house, secret, found):
        return None
    started = house.clock.monotonic()
    try:
        facts = look.facts(house, secret, found)
    except DomainError as error:
        return await _fail(house, secret, Staged(Stage.FETCH, error), why=None)
    now = house.clock.now()
    verdict = decide.decide(facts, now=now)
    if verdict.act is Act.REST:
        return verdict.until
    due, failed = await _pass(house, facts, verdict)
    if verdict.act is Act.FETCH:
        seconds = house.clock.monotonic() - started
        house.signals.pass_ended(key, seconds=seconds, result=type(failed).__name__ if failed is not None else "ok")
    return due


async def _pass(house: House, facts: Facts, verdict: Verdict) -> tuple[float | None, DomainError | None]:
    """Act and report; return when the next pass is due, and the error that the act ended with."""
    failed_before = house.memory.get(facts.secret.metadata.uid).failures
    try:
        result = await _act(house, facts, verdict)
    except Staged as staged:
        return await _fail(house, facts.secret, staged, why=verdict.why), staged.error
    except DomainError as error:
        if verdict.act is Act.KEEP:
            return await _hold_lease(house, facts, verdict, error), error
        return await _fail(house, facts.secret, Staged(Stage.FETCH, error), why=verdict.why), error
    try:
        return await _conclude(house, facts, verdict, result), None
    except DomainError as error:
        # the act is done and will not be repeated without need; only its report waits for the API server
        failures, uid = failed_before + 1, facts.secret.metadata.uid
        until = house.clock.now() + holding.backoff(error, failures, uid)
        house.memory.update(uid, failures=failures, target_version="", held_until=until)  # verify then, and report
        return _at_least(house, facts.secret, until), None


def _entries(secret: ExternalSecret) -> tuple[Entry, ...] | None:
    """Return the entries, None where they cannot be followed: a mistake that the look will report."""
    try:
        return sources.entries(secret)
    except Misconfigured:
        return None


# ---------------------------------------------------------------------------------------------------------------- acts


async def _act(house: House, facts: Facts, verdict: Verdict) -> Result:
    if verdict.act is Act.KEEP:
        if facts.record is not None:
            await leasing.keep(house, facts.secret, facts.record, verdict)
            holding.clear(house, facts, verdict)
        return Result()
    if verdict.act is Act.VERIFY:
        return await _verify(house, facts)
    if verdict.act is Act.FOLLOW:
        return await _follow(house, facts)
    return await _fetch(house, facts, verdict.why or Why.RETRY)


async def _fetch(house: House, facts: Facts, why: Why) -> Result:
    secret = facts.secret
    if _store_unchecked(house, facts):
        return Result(again=house.clock.now() + UNCHECKED)
    fetched = await fetch.fetch(house, facts, why)
    done = await publish.publish(house, facts, fetched.values, why)
    await publish.delete_orphans(house, secret)
    await _let_go(house, secret, fetched.leased)
    changed = _rolled(house, secret, done.data, done.replaced) if done.data is not None else None
    now = house.clock.now()
    house.memory.update(secret.metadata.uid, refreshed_at=now, failures=0, held_until=0.0, follow_at=0.0)
    house.signals.refreshed(look.key_of(secret), now)
    return Result(outcome=done.outcome, rollout=changed)


def _store_unchecked(house: House, facts: Facts) -> bool:
    """Tell whether some store exists and waits for its first check: nothing is wrong yet, nothing is reported."""
    namespace = facts.secret.metadata.namespace or ""
    named = [house.view.store(kind, namespace, name) for kind, name in sources.stores(facts.entries)]
    return house.rules.flood_gate and any(store is not None and look.store_ready(store) is None for store in named)


def _rolled(
    house: House, secret: ExternalSecret, data: SecretMap, replaced: SecretMap | None = None
) -> dict[str, Any] | None:
    """Return status.rollout after this data was published, None where rollouts are off."""
    if secret.spec.rollout is None:
        return None
    keys = fingerprint_each(house.fingerprint_key, data)
    before = fingerprint_each(house.fingerprint_key, replaced) if replaced is not None else None
    return rollout.published(house, secret, keys, replaced=before)


async def _let_go(house: House, secret: ExternalSecret, leased: frozenset[str]) -> None:
    """Put leases that the object no longer uses on their way out; the Secret no longer holds them."""
    record = house.records.get(secret.metadata.uid)
    if record is None:
        return
    for source, held in record.sources.items():
        if source not in leased and (held.current is not None or held.lost):
            changed = replace(transitions.let_go(held, now=house.clock.now()), lost=False)
            await minting.keep_record(house, house.records.get(record.uid) or record, source, changed)


async def _verify(house: House, facts: Facts) -> Result:
    """Compare the Secret with its own data-hash (ESO's validity rule); a difference is repaired from the sources."""
    secret = facts.secret
    namespace, name = secret.metadata.namespace or "", desired.target_name(secret)
    try:
        live = await house.secrets.get(namespace, name)
    except DomainError as error:
        raise Staged(Stage.WRITE, error) from None
    if live is not None:
        labels = live.metadata.get("labels") or {}
        shown = (live.metadata.get("annotations") or {}).get(desired.ANNOTATION_HASH)
        if labels.get(desired.LABEL_MANAGED) == "true" and shown == desired.data_hash(live.data):
            house.memory.update(secret.metadata.uid, target_version=live.resource_version)
            house.note_target(namespace, name, _seen(facts, live.resource_version))
            return Result(rollout=_rolled(house, secret, live.data))
    return await _fetch(house, facts, Why.TARGET_CHANGED)


def _seen(facts: Facts, version: str) -> Any:
    return replace(facts.target, resource_version=version) if facts.target is not None else None


async def _follow(house: House, facts: Facts) -> Result:
    progress = await rollout.follow(house, facts.secret)
    house.memory.update(facts.secret.metadata.uid, follow_at=progress.again or house.clock.now() + holding.SLOW)
    return Result(rollout=dict(progress.status), again=progress.again)


async def _conclude(house: House, facts: Facts, verdict: Verdict, result: Result) -> float | None:
    """Write the status if it says something new, then return the next due time."""
    secret = facts.secret
    await _write_status(house, secret, result.outcome, result.rollout)
    if result.outcome is not None:
        house.signals.conditions_set(look.key_of(secret), {"Ready": "True" if result.outcome.ready else "False"})
    if result.again is not None and verdict.act is not Act.FOLLOW:
        return result.again
    return _next(house, secret, facts.entries or None)


def _next(house: House, secret: ExternalSecret, found: tuple[Entry, ...] | None = None) -> float | None:
    """Return the next due time as the mirror and the memory have it now; ``found`` are the object's entries."""
    fresh = house.view.external_secret(look.key_of(secret)) or secret
    same = found is not None and fresh.metadata.generation == secret.metadata.generation
    facts = look.facts(house, fresh, found if same else None)
    now = house.clock.now()
    verdict = decide.decide(facts, now=now)
    return verdict.until if verdict.act is Act.REST else now


async def _write_status(
    house: House, secret: ExternalSecret, outcome: Outcome | None, rolled: dict[str, Any] | None
) -> None:
    record = house.records.get(secret.metadata.uid)
    view = report.View(
        record=record,
        terms=look.terms(house, secret),
        rollout=rolled,
        key=house.fingerprint_key,
        freshness=house.rules.status_freshness,
    )
    wire = report.status(secret, outcome, view, now=house.clock.now())
    difference = report.patch(secret.status.to_wire(), wire)
    key = look.key_of(secret)
    if difference is not None:
        await house.objects.patch_status(key, difference)
        house.note_status(key, wire)
    _show_leases(house, key, record)


def _show_leases(house: House, key: Key, record: LeaseRecord | None) -> None:
    if record is None:
        return
    held = {source: held.current for source, held in record.sources.items()}
    ends = {source: one.ends_at for source, one in held.items() if one is not None and one.lease_id}
    house.signals.leases_set(key, ends)


# ------------------------------------------------------------------------------------------------------------ failures


async def _fail(house: House, secret: ExternalSecret, staged: Staged, *, why: Why | None) -> float | None:
    """Report a failed pass; the Secret keeps what was last good. Return when to try again."""
    error, uid = staged.error, secret.metadata.uid
    memo = house.memory.get(uid)
    now = house.clock.now()
    failures = memo.failures + 1 if memo.pace is error.retry.pace else 1
    wait = holding.backoff(error, failures, uid)
    house.memory.update(uid, failures=failures, pace=error.retry.pace, held_until=now + wait)
    if error.retry.pace is Pace.NOW and failures < holding.QUIET:
        return now + wait  # somebody wrote first: nothing is wrong, the next look sees what they wrote
    outcome = report.failure(staged.stage, error, why=why)
    before = decide.ready_condition(secret)
    if before is None or before.status != "False" or before.message != outcome.message:
        house.events.emit(
            look.key_of(secret), uid=uid, reason=EventReason.UPDATE_FAILED, message=outcome.message, warning=True
        )
    house.signals.conditions_set(look.key_of(secret), {"Ready": "False"})
    with contextlib.suppress(DomainError):  # the status is tried again with the next pass
        await _write_status(house, secret, outcome, None)
    return _at_least(house, secret, now + wait)


def _at_least(house: House, secret: ExternalSecret, until: float) -> float:
    """Return when to look again at the latest: what is held waits until then, what a lease asks for does not."""
    try:
        due = _next(house, secret)
    except DomainError:
        return until
    return until if due is None else min(due, until)


async def _hold_lease(house: House, facts: Facts, verdict: Verdict, error: DomainError) -> float | None:
    """Hold one step of a lease whose backend gave no verdict: the value stays, the other steps go on."""
    until = holding.hold(house, facts, verdict, error)
    if verdict.step is Step.LOOK_UP:  # the credential is over by our figures, and nobody says otherwise
        house.signals.conditions_set(look.key_of(facts.secret), {"Ready": "False"})
        with contextlib.suppress(DomainError):
            await _write_status(house, facts.secret, report.failure(Stage.FETCH, error), None)
    return _at_least(house, facts.secret, until)


async def _refuse(house: House, key: Key, error: Invalid) -> float | None:
    """Report an object that does not parse; it waits for its next change."""
    problem = Misconfigured(f"{error.path} {error.problem}", path=str(key), remedy="mend the field")
    outcome = report.failure(Stage.FETCH, problem)
    now = house.clock.now()
    try:
        await house.objects.patch_status(key, {"conditions": report.conditions([], outcome, now=now)})
    except Unavailable:
        return now + holding.SLOW
    except DomainError:
        return None
    return None
