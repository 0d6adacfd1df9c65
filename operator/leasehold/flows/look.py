"""The look: what the mirror, the records and the memory say of one ExternalSecret, as one frozen value. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from leasehold.api import duration, percent
from leasehold.api.externalsecret import ExternalSecret
from leasehold.api.generators import VaultDynamicSecret
from leasehold.api.stores import ClusterSecretStore, SecretStore
from leasehold.domain import access, decide, desired, lease, report, sources, transitions
from leasehold.domain.decide import Facts
from leasehold.domain.errors import Misconfigured
from leasehold.domain.facts import Key
from leasehold.domain.lease import LeaseRecord, LeaseTerms, SourceRecord
from leasehold.domain.ports import Identity, StoreRef
from leasehold.domain.sources import Entry
from leasehold.flows.house import House

Store = SecretStore | ClusterSecretStore
CLUSTER_STORE = "ClusterSecretStore"
_NO_SOURCE = {"controller", "conditions", "refresh_interval", "retry_settings"}
_TRANSPORT = frozenset(
    {"ca_bundle", "ca_provider", "tls", "headers", "read_your_writes", "forward_inconsistent", "check_and_set"}
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one entry is read: the store or generator, and how to open it."""

    ref: StoreRef
    spec: Any
    identity: Identity


def facts(house: House, secret: ExternalSecret, found: tuple[Entry, ...] | None = None) -> Facts:
    """Return what is known of the object; ``found`` are its entries, where the caller has them.

    Raises:
        Misconfigured: the spec cannot be followed (an invalid duration, no source).
    """
    namespace, uid = secret.metadata.namespace or "", secret.metadata.uid
    record = _caught_up(house, secret)
    check_durations(secret)
    found = sources.entries(secret) if found is None else found
    return Facts(
        secret=secret,
        entries=found,
        target=house.view.target(namespace, desired.target_name(secret)),
        targets_heard=house.view.heard("Secret"),
        record=record,
        memo=house.memory.get(uid),
        leased=_leased(house, secret, record, found),
        terms=terms(house, secret),
        published=report.published(secret, record, house.fingerprint_key),
        rolled_out=secret.spec.rollout is None
        or secret.status.rollout is None
        or secret.status.rollout.state not in decide.ROLLING,
    )


def ours(house: House, secret: ExternalSecret, found: tuple[Entry, ...] | None) -> bool:
    """Tell whether all stores of the object are ours to serve: objects of another class are not touched at all."""
    namespace = secret.metadata.namespace or ""
    for kind, name in sources.stores(found or ()):
        if kind == CLUSTER_STORE and not house.rules.cluster_stores:
            return False
        store = house.view.store(kind, namespace, name)
        if store is not None and not access.of_class(store.spec.controller, house.rules.controller_class):
            return False
    for kind, name in (entry.generator for entry in found or () if entry.generator is not None):
        generator = house.view.generator(kind, namespace, name)
        if generator is not None and not access.of_class(generator.spec.controller, house.rules.controller_class):
            return False
    return True


def check_durations(secret: ExternalSecret) -> None:
    """Raise Misconfigured for a duration that is none: the CRD types them as plain text, as ESO does."""
    try:
        secret.spec.refresh_seconds()
    except ValueError as error:
        raise Misconfigured(f"invalid duration: {error}", path="spec.refreshInterval", remedy="write 1h0m0s") from None


def terms(house: House, secret: ExternalSecret) -> LeaseTerms:
    """Return spec.lease with the installation's defaults."""
    wanted = secret.spec.lease
    rollout = secret.spec.rollout
    deadline = house.rules.rollout_deadline
    if rollout is not None and rollout.deadline is not None:
        deadline = _seconds(rollout.deadline, "spec.rollout.deadline")
    grace = house.rules.grace_period
    if wanted is None:
        return LeaseTerms(rotate_before=deadline + grace, grace=grace)
    if wanted.grace_period is not None:
        grace = _seconds(wanted.grace_period, "spec.lease.gracePeriod")
    before = deadline + grace
    if wanted.rotate_before is not None:
        before = _seconds(wanted.rotate_before, "spec.lease.rotateBefore")
    share = lease.RENEW_AT
    if wanted.renew_at is not None:
        try:
            share = percent.share(wanted.renew_at)
        except ValueError as error:
            raise Misconfigured(f"invalid share: {error}", path="spec.lease.renewAt", remedy="write 66%") from None
    return LeaseTerms(renew_at=share, rotate_before=before, grace=grace, on_delete=wanted.on_delete.value)


def _seconds(text: str, path: str) -> float:
    try:
        return duration.parse(text)
    except ValueError as error:
        raise Misconfigured(f"invalid duration: {error}", path=path, remedy="write 10m") from None


def _caught_up(house: House, secret: ExternalSecret) -> LeaseRecord | None:
    """Return the record with the times of the status where these are later: a restart finds them there."""
    record = house.records.get(secret.metadata.uid)
    if record is None:
        return None
    shown = {entry.fingerprint: entry for entry in secret.status.leases}
    for source, held in record.sources.items():
        if held.current is None or not held.current.lease_id:
            continue
        entry = shown.get(report.lease_fingerprint(house.fingerprint_key, held.current))
        if entry is None:
            continue
        current = transitions.caught_up(
            held.current,
            expires_at=entry.expires_at.timestamp() if entry.expires_at else None,
            owner_expires_at=entry.owner_expires_at.timestamp() if entry.owner_expires_at else None,
        )
        if current is not held.current:
            record = record.with_source(source, replace(held, current=current))
    return record


def _leased(
    house: House, secret: ExternalSecret, record: LeaseRecord | None, found: tuple[Entry, ...]
) -> dict[str, str]:
    """Return the wanted hash of each leased source whose store or generator is known right now."""
    held = record.sources if record is not None else {}
    ids = sources.lease_sources(found)
    wanted = {}
    for entry in found:
        if ids[entry.id] != entry.id or not (entry.leased or _was_leased(held.get(entry.id))):
            continue
        try:
            where = place(house, secret, entry)
        except Misconfigured:
            continue  # the fetch will say so; what is held is kept alive meanwhile
        wanted[entry.id] = wanted_hash(entry, where)
    return wanted


def _was_leased(held: SourceRecord | None) -> bool:
    """Tell whether a store read gave a lease last time; what is only on its way out was let go."""
    return held is not None and (held.current is not None or held.lost)


def wanted_hash(entry: Entry, where: Place) -> str:
    """Return the hash of what a leased source says today: what is asked of whom, as whom.

    How the server is reached and trusted is no part of it: a renewed authority must not replace every credential.
    """
    spec = where.spec.model_dump(mode="json", exclude_none=True, exclude=_NO_SOURCE)
    vault = spec["provider"].get("vault", spec["provider"])
    provider = {**spec, "provider": {name: value for name, value in vault.items() if name not in _TRANSPORT}}
    account = where.identity.service_account
    return sources.lease_hash(entry, [provider, where.identity.audiences], account)


def identity(secret: ExternalSecret) -> Identity:
    """Return who logs in for the object: its workload where it names one, else the store's own account."""
    namespace = secret.metadata.namespace or ""
    wanted = secret.spec.identity
    if wanted is None:
        return Identity(namespace)
    ref = wanted.service_account_ref
    return Identity(namespace, service_account=ref.name, audiences=tuple(ref.audiences))


def place(house: House, secret: ExternalSecret, entry: Entry) -> Place:
    """Return where an entry is read.

    Raises:
        Misconfigured: the store or generator does not exist, or may not be used from this namespace.
    """
    namespace = secret.metadata.namespace or ""
    if entry.generator is not None:
        kind, name = entry.generator
        generator = house.view.generator(kind, namespace, name)
        if generator is None:
            raise Misconfigured(
                f"{kind} {namespace}/{name} does not exist",
                path=f"spec.{entry.id}",
                remedy="create it or mend the name",
            )
        return Place(_generator_ref(generator), generator.spec, identity(secret))
    kind, name = entry.store
    store = house.view.store(kind, namespace, name)
    if store is None:
        raise Misconfigured(
            f"{kind} {name} does not exist", path=f"spec.{entry.id}", remedy="create it or mend secretStoreRef"
        )
    if kind == CLUSTER_STORE and not access.allowed(store.spec, namespace, house.view.namespace_labels(namespace)):
        raise Misconfigured(
            f'using cluster store "{name}" is not allowed from namespace "{namespace}": denied by spec.condition',
            path=f"spec.{entry.id}",
            remedy="add the namespace to the store's spec.conditions",
        )
    return Place(store_ref(store), store.spec, identity(secret))


def store_ref(store: Store) -> StoreRef:
    """Return the reference that tells one version of a store from another."""
    meta = store.metadata
    kind = CLUSTER_STORE if isinstance(store, ClusterSecretStore) else "SecretStore"
    namespace = "" if kind == CLUSTER_STORE else meta.namespace or ""
    return StoreRef(kind, meta.name, namespace, uid=meta.uid, generation=meta.generation)


def _generator_ref(generator: VaultDynamicSecret) -> StoreRef:
    meta = generator.metadata
    return StoreRef("VaultDynamicSecret", meta.name, meta.namespace or "", uid=meta.uid, generation=meta.generation)


def store_ready(store: Store) -> bool | None:
    """Return the store's Ready condition, None where it was never checked."""
    ready = next((condition for condition in store.status.conditions if condition.type == "Ready"), None)
    return None if ready is None else ready.status == "True"


def store_message(store: Store) -> str:
    """Return what the store's Ready condition says, "" where there is none."""
    return next((condition.message or "" for condition in store.status.conditions if condition.type == "Ready"), "")


def key_of(secret: ExternalSecret) -> Key:
    """Return the agenda key of the object."""
    return Key("ExternalSecret", secret.metadata.namespace or "", secret.metadata.name)
