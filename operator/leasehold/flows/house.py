"""What every flow is given: the ports, the rules of this installation, and the memory of the process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from leasehold.domain.decide import Memo
from leasehold.domain.facts import Key, WorkloadRef
from leasehold.domain.ports import (
    Clock,
    Events,
    Objects,
    Records,
    Registry,
    Secrets,
    Signals,
    View,
    Workloads,
)
from leasehold.domain.values import SecretBytes
from leasehold.flows.reading import SharedReads


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator was started with, as far as flows need it. Times in seconds."""

    controller_class: str = "default"
    flood_gate: bool = True
    status_freshness: float = 300.0
    store_interval: float = 300.0
    grace_period: float = 300.0
    """Default of spec.lease.gracePeriod."""
    rollout_deadline: float = 600.0
    """Default of spec.rollout.deadline."""
    revoke_deadline: float = 600.0
    """How long a revocation after deletion is tried before the lease is given up as an orphan."""
    cluster_stores: bool = True
    namespaced_stores: bool = True


class Memory:
    """What the process remembers per object, by uid; losing it costs reads, never truth."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._memos: dict[str, Memo] = {}
        self._uids: dict[Key, str] = {}
        self._forerunners: set[Key] = set()

    def get(self, uid: str) -> Memo:
        """Return the memo of an object, a blank one at first."""
        return self._memos.get(uid) or Memo()

    def update(self, uid: str, **fields: Any) -> Memo:
        """Replace fields of a memo and return it."""
        memo = replace(self.get(uid), **fields)
        self._memos[uid] = memo
        return memo

    def release_hold(self, uid: str) -> None:
        """Let the next pass try again at once: the object, or what it depends on, has changed."""
        memo = self._memos.get(uid)
        if memo is not None and (memo.held_until or memo.lease_holds):
            holds = {step: (tries, 0.0) for step, (tries, _) in memo.lease_holds.items()}
            self._memos[uid] = replace(memo, held_until=0.0, lease_holds=holds)

    def forget(self, uid: str) -> None:
        """Drop the memo of an object that is gone."""
        self._memos.pop(uid, None)

    def met(self, uid: str) -> bool:
        """Tell whether the object was looked at before in this process, and note that it is now."""
        known = uid in self._memos
        self._memos.setdefault(uid, Memo())
        return known

    def named(self, key: Key, uid: str) -> bool:
        """Note who bears a name now; tell whether an earlier object of that name may have left something behind."""
        if self._uids.setdefault(key, uid) != uid:
            self._uids[key] = uid
            self._forerunners.add(key)
        return key in self._forerunners

    def left_behind(self, key: Key) -> None:
        """Note that an object of that name left something behind."""
        self._forerunners.add(key)

    def settled(self, key: Key) -> None:
        """Note that nothing is left of earlier objects of that name."""
        self._forerunners.discard(key)


@dataclass(frozen=True, slots=True)
class House:
    """The ports and rules that a flow works with."""

    view: View
    secrets: Secrets
    objects: Objects
    workloads: Workloads
    records: Records
    events: Events
    registry: Registry
    signals: Signals
    clock: Clock
    fingerprint_key: SecretBytes
    wake: Callable[[Key, float], None]
    """Look at a key again in so many seconds."""
    note_status: Callable[[Key, dict[str, Any]], None]
    """Tell the mirror of our own status write, so that its echo wakes nobody and the next look sees it."""
    note_target: Callable[[str, str, Any], None]
    """Tell the mirror of our own write of a Secret: namespace, name, domain.facts.Target or None (deleted)."""
    rules: Rules = field(default_factory=Rules)
    memory: Memory = field(default_factory=Memory)
    reads: SharedReads = field(default_factory=SharedReads)
    refusals: dict[WorkloadRef, str] = field(default_factory=dict)
    """Why the last try to restart a workload failed, while it is tried again."""
