"""The fetch: every entry's answer, static reads shared and concurrent, leases minted only where the plan says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from leasehold.api.externalsecret import ExternalSecret
from leasehold.api.generators import VaultDynamicSecretSpec
from leasehold.api.target import DeletionPolicy
from leasehold.domain import decide, sources, upkeep
from leasehold.domain.decide import Facts
from leasehold.domain.errors import DomainError, Misconfigured, Missing, Unavailable
from leasehold.domain.lease import SourceRecord
from leasehold.domain.ports import Document, Leaser, MintRequest, Reader, Remote
from leasehold.domain.reasons import EventReason, Why
from leasehold.domain.sources import Answers, Entry
from leasehold.domain.values import SecretMap
from leasehold.flows import holding, look, minting, publish, reading
from leasehold.flows.house import House
from leasehold.flows.look import Place

_T = TypeVar("_T")
FRESH = frozenset({Why.SPEC_CHANGED, Why.RETRY, Why.SOURCE_CHANGED})
"""Reasons that ask for what the backend says now, not for what it said a moment ago."""
AGAIN = frozenset({Why.REFRESH_DUE, Why.SPEC_CHANGED})
"""Reasons that run a generator again whose answer is no lease (ESO's rule); a retry or a repair uses what is held."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The values of all entries, and what was absent by permission of the deletion policy."""

    values: SecretMap
    absent: frozenset[str]
    leased: frozenset[str]
    """Sources whose values come from a lease; what else is recorded is no longer in use."""


async def fetch(house: House, facts: Facts, why: Why) -> Fetched:
    """Read (and mint) everything that the object names.

    Raises:
        DomainError: some entry could not be had; nothing partial is returned.
    """
    secret = facts.secret
    found = facts.entries or sources.entries(secret)
    places = {entry.id: look.place(house, secret, entry) for entry in found}
    answers: dict[str, Document | SecretMap] = {}
    leased = [entry for entry in found if entry.leased]
    by_place: dict[Place, list[Entry]] = {}
    for entry in found:
        if not entry.leased:
            by_place.setdefault(_hashable(places[entry.id]), []).append(entry)
    absent: dict[str, DomainError] = {}
    groups = [_read(house, facts, places[group[0].id], group, why) for group in by_place.values()]
    for read, missing, mints in await _all(groups):
        answers |= read
        absent |= missing
        leased += mints
    held = await _leases(house, facts, [(entry, places[entry.id]) for entry in leased], why)
    answers |= {entry_id: held[source] for entry_id, source in _shared(found, leased).items()}
    _permit(house, secret, absent)
    gone = frozenset(absent)
    try:
        values: SecretMap = sources.assemble(found, answers, absent=gone)
    except Missing as error:
        values, gone = _without_properties(house, secret, (found, answers, gone), error)
    return Fetched(values, gone, frozenset(held))


def _shared(found: tuple[Entry, ...], leased: Sequence[Entry]) -> dict[str, str]:
    """Return for each leased entry the source whose lease gives its values."""
    ids = sources.lease_sources(found)
    return {entry.id: ids[entry.id] for entry in leased}


async def _all(groups: Sequence[Awaitable[_T]]) -> list[_T]:
    """Await all groups; the first error is raised after every one has ended, so that none is left alone."""
    if len(groups) == 1:  # by far the most: no task for it
        return [await groups[0]]
    results = await asyncio.gather(*groups, return_exceptions=True)
    done: list[_T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        done.append(result)
    return done


def _hashable(place: Place) -> Place:
    return replace(place, spec=None)


async def _read(
    house: House, facts: Facts, place: Place, group: list[Entry], why: Why
) -> tuple[dict[str, Document], dict[str, DomainError], list[Entry]]:
    """Read the entries of one store; return documents, absences, and the entries whose read would mint."""
    _admit(house, facts, place, group[0])
    backend = await house.registry.open(place.ref, place.spec, place.identity)
    if not isinstance(backend, Reader):
        raise Misconfigured(f"{place.ref} cannot be read from", path=f"spec.{group[0].id}", remedy="use another store")
    remotes = {entry.id: entry.remote for entry in group if entry.remote is not None}
    minting: set[str] = set()
    if isinstance(backend, Leaser):
        for entry_id, remote in remotes.items():
            if await backend.leases(remote):
                minting.add(entry_id)
    plain = [remote for entry_id, remote in remotes.items() if entry_id not in minting]
    found = await house.reads.read(
        backend,
        (place.ref, place.identity),
        plain,
        max_age=_window(facts, why),
        now=house.clock.monotonic(),
    )
    documents: dict[str, Document] = {}
    absent: dict[str, DomainError] = {}
    for entry_id, remote in remotes.items():
        if entry_id in minting:
            continue
        answer = found[remote]
        if isinstance(answer, Missing):
            absent[entry_id] = answer
        elif isinstance(answer, DomainError):
            raise answer
        else:
            documents[entry_id] = answer
    return documents, absent, [entry for entry in group if entry.id in minting]


def _window(facts: Facts, why: Why) -> float:
    if why in FRESH:
        return 0.0
    interval = facts.secret.spec.refresh_seconds()
    return min(reading.WINDOW, interval / 2) if interval > 0 else reading.WINDOW


def _admit(house: House, facts: Facts, place: Place, entry: Entry) -> None:
    """Raise where the flood gate is closed: a store that is known to be broken is not asked by every object.

    An object that logs in as its own workload passes: that the store's account is refused says nothing about another.
    """
    if not house.rules.flood_gate or place.identity.service_account:
        return
    store = house.view.store(place.ref.kind, facts.secret.metadata.namespace or "", place.ref.name)
    if store is None or look.store_ready(store) is not True:
        told = "" if store is None else look.store_message(store)
        raise Unavailable(
            f'{place.ref.kind} "{place.ref.name}" is not ready',
            path=f"spec.{entry.id}",
            remedy=f"see its conditions: {told}" if told else "see its conditions",
        )


def _permit(house: House, secret: ExternalSecret, absent: dict[str, DomainError]) -> None:
    """Let absent remote secrets vanish where the deletion policy allows it, with an event; raise otherwise."""
    if not absent:
        return
    if secret.spec.target.deletion_policy is DeletionPolicy.RETAIN:
        raise next(iter(absent.values()))
    for entry_id, error in absent.items():
        house.events.emit(
            look.key_of(secret),
            uid=secret.metadata.uid,
            reason=EventReason.MISSING_PROVIDER_SECRET,
            message=f"{entry_id}: {error}",
            warning=True,
        )


def _without_properties(
    house: House, secret: ExternalSecret, read: tuple[tuple[Entry, ...], Answers, frozenset[str]], error: Missing
) -> tuple[SecretMap, frozenset[str]]:
    """Return the values without entries whose property is absent, where the deletion policy allows it."""
    if secret.spec.target.deletion_policy is DeletionPolicy.RETAIN:
        raise error
    found, answers, gone = read
    absent: dict[str, DomainError] = {}
    for entry in found:
        if entry.id in gone:
            continue
        try:
            sources.assemble((entry,), answers)
        except Missing as missing:
            absent[entry.id] = missing
    _permit(house, secret, absent)
    gone = gone | frozenset(absent)
    return sources.assemble(found, answers, absent=gone), gone


# -------------------------------------------------------------------------------------------------------------- leases


async def _leases(house: House, facts: Facts, leased: Sequence[tuple[Entry, Place]], why: Why) -> dict[str, SecretMap]:
    """Return the values of each leased source, after minting where one is due.

    Raises:
        DomainError: a mint failed, or a lease cannot be vouched for.
        Staged: a new credential could not be published, so none is minted.
    """
    ids = sources.lease_sources(facts.entries or sources.entries(facts.secret))
    asked = {ids[entry.id]: (entry, place) for entry, place in reversed(leased)}
    wanted = {source: look.wanted_hash(entry, place) for source, (entry, place) in asked.items()}
    due = {source: _mint_due(house, facts, source, wanted[source], why) for source in asked}
    if any(due.values()):
        await publish.check_before_mint(house, facts.secret)
    values: dict[str, SecretMap] = {}
    for source in sorted(asked):
        entry, place = asked[source]
        reason = due[source]
        if reason is not None:
            await _mint(house, facts.secret, (entry, place), (source, wanted[source]), reason)
        made = _held(house, facts, source)
        if made is None or made.current is None or made.current.has_ended(now=house.clock.now()):
            raise Unavailable(
                "the lease has ended, or a mint was interrupted, and the backend has not yet told which",
                path=f"spec.{source}",
                remedy="it is tried again",
            )
        values[source] = made.current.values
    return values


def _held(house: House, facts: Facts, source: str) -> SourceRecord | None:
    record = house.records.get(facts.secret.metadata.uid)
    return record.sources.get(source) if record is not None else None


def _mint_due(house: House, facts: Facts, source: str, wanted: str, why: Why) -> Why | None:
    held = _held(house, facts, source)
    due = upkeep.mint_due(held, wanted, decide.moment(facts, source, now=house.clock.now()))
    if due is None and held is not None and held.current is not None and not held.current.lease_id and why in AGAIN:
        return why if held.intent is None else None
    return due


async def _mint(
    house: House, secret: ExternalSecret, where: tuple[Entry, Place], what: tuple[str, str], why: Why
) -> None:
    leaser, request = await _leaser(house, *where)
    source, wanted = what
    order = minting.Order(source=source, request=request, source_hash=wanted, why=why)
    await minting.mint(house, secret, leaser, order)
    holding.forget_look_up(house, secret.metadata.uid, source)


async def _leaser(house: House, entry: Entry, place: Place) -> tuple[Leaser, MintRequest]:
    """Return who mints for the entry, and the request."""
    if isinstance(place.spec, VaultDynamicSecretSpec):
        leaser = await house.registry.open_generator(place.ref, place.spec, place.identity)
        return leaser, generator_request(place.spec)
    backend = await house.registry.open(place.ref, place.spec, place.identity)
    if not isinstance(backend, Leaser) or entry.remote is None:
        raise Misconfigured(f"{place.ref} has no leased answers", path=f"spec.{entry.id}", remedy="use a generator")
    return backend, _store_request(place, entry.remote)


def generator_request(spec: VaultDynamicSecretSpec) -> MintRequest:
    """Return the request that a VaultDynamicSecret describes."""
    return MintRequest(
        path=spec.path,
        method=(spec.method or "GET").upper(),
        parameters=spec.parameters if isinstance(spec.parameters, dict) else {},
        query=spec.get_parameters,
        result=spec.result_type.value,
        allow_empty=spec.allow_empty_response,
    )


def _store_request(place: Place, remote: Remote) -> MintRequest:
    vault = place.spec.provider.vault
    return sources.mint_request(remote, vault.path or "" if vault is not None else "")
