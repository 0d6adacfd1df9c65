"""The check of a store: does the backend answer, and does it take our identity? One status write where that changed."""

from __future__ import annotations

from typing import Any

from leasehold.api.parse import Invalid
from leasehold.domain import access, report
from leasehold.domain.errors import DomainError, Misconfigured
from leasehold.domain.facts import Key
from leasehold.domain.lease import spread
from leasehold.domain.ports import Checker, Identity, Verdict
from leasehold.domain.reasons import EventReason, StoreReason
from leasehold.flows import look
from leasehold.flows.house import House
from leasehold.flows.look import Store

VALIDATED = "store validated"
FAILED = "unable to validate store"
UNDETERMINED = "could not determine validation status"
CAPABILITIES = {"vault": "ReadWrite", "fake": "ReadWrite"}
RETRY = 5.0
"""Seconds before a store that failed is checked again; its first good check wakes its dependants."""
SLOWEST = 60.0


async def check(house: House, key: Key) -> float | None:
    """Validate one store, report what changed, return when to check again."""
    try:
        store = house.view.store(key.kind, key.namespace, key.name)
    except Invalid:
        return None
    if store is None or not access.of_class(store.spec.controller, house.rules.controller_class):
        return None
    rules = house.rules
    if not (rules.cluster_stores if key.kind == look.CLUSTER_STORE else rules.namespaced_stores):
        return None
    try:
        interval = store.spec.refresh_seconds() or house.rules.store_interval
    except ValueError as error:
        problem = Misconfigured(f"invalid duration: {error}", path="spec.refreshInterval", remedy="write 5m")
        await _report(house, key, store, *_failed(problem))
        return None
    now = house.clock.now()
    uid = store.metadata.uid
    if not house.memory.met(uid) and look.store_ready(store):
        # we have just started, and the store was valid when we stopped: its turn comes within its interval
        return now + spread(uid, interval)
    started = house.clock.monotonic()
    try:
        verdict = await _validate(house, store)
    except DomainError as error:
        failures = house.memory.get(uid).failures + 1
        house.memory.update(uid, failures=failures)
        await _report(house, key, store, *_failed(error))
        wait = min(RETRY * 2.0 ** min(failures - 1, 5), SLOWEST, max(interval, RETRY))
        house.signals.pass_ended(key, seconds=house.clock.monotonic() - started, result=type(error).__name__)
        return now + max(wait, error.retry_after or 0.0)
    house.signals.pass_ended(key, seconds=house.clock.monotonic() - started, result="ok")
    house.memory.update(uid, failures=0)
    if verdict is Verdict.VALID:
        await _report(house, key, store, "True", StoreReason.VALID, VALIDATED)
    else:
        await _report(house, key, store, "True", StoreReason.UNKNOWN, UNDETERMINED)
    return now + interval


def _failed(error: DomainError) -> tuple[str, StoreReason, str]:
    return "False", StoreReason.INVALID, f"{FAILED}: {error}"


async def _validate(house: House, store: Store) -> Verdict:
    """Open the store under its own account and ask it.

    A ClusterSecretStore whose references live in the namespaces of its users cannot be asked here; its provider
    answers UNKNOWN then.
    """
    backend = await house.registry.open(look.store_ref(store), store.spec, Identity(store.metadata.namespace or ""))
    return await backend.check() if isinstance(backend, Checker) else Verdict.UNKNOWN


async def _report(house: House, key: Key, store: Store, status: str, reason: StoreReason, message: str) -> None:
    old = store.status.to_wire()
    now = house.clock.now()
    before = next((condition for condition in old.get("conditions", []) if condition.get("type") == "Ready"), None)
    moved = before is None or before.get("status") != status
    ready = {
        "type": "Ready",
        "status": status,
        "reason": reason.value,
        "message": message,
        "lastTransitionTime": report.rfc3339(now) if moved or before is None else before["lastTransitionTime"],
    }
    others = [condition for condition in old.get("conditions", []) if condition.get("type") != "Ready"]
    wire: dict[str, Any] = {**old, "conditions": [*others, ready]}
    provider = next(iter(store.spec.provider.model_fields_set), "")
    if provider in CAPABILITIES and status == "True":
        wire["capabilities"] = CAPABILITIES[provider]
    difference = report.merge_patch(old, wire)
    if difference:
        await house.objects.patch_status(key, difference)
        house.note_status(key, wire)
        house.events.emit(
            key,
            uid=store.metadata.uid,
            reason=EventReason.STORE_VALID if status == "True" else EventReason.STORE_INVALID,
            message=message,
            warning=status != "True",
        )
    house.signals.conditions_set(key, {"Ready": status})
