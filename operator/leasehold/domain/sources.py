"""From the entries of an ExternalSecret to remote reads, and from what was read to the keys of the Secret.

Order is the rule (ESO's): dataFrom entry by entry, later ones win, then data over all of it. One remote is read once,
however many entries project from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from leasehold.api.externalsecret import ExternalSecret
from leasehold.api.sources import (
    ConversionStrategy,
    DataFrom,
    DecodingStrategy,
    MetadataPolicy,
    NullBytePolicy,
    RemoteRef,
    SourceRef,
)
from leasehold.api.target import DeletionPolicy
from leasehold.domain import keys
from leasehold.domain.errors import Misconfigured, Missing
from leasehold.domain.ports import Document, MintRequest, Remote
from leasehold.domain.values import SecretBytes, SecretMap

LEASED_GENERATORS = frozenset({"VaultDynamicSecret"})
"""Generators whose answer is a lease."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of data or dataFrom, made plain."""

    id: str
    """Where it stands: data[0], dataFrom[1]."""
    remote: Remote | None
    field: str = ""
    """Property of the document; "" is all of it."""
    secret_key: str = ""
    """Key in the Secret; "" for an entry of dataFrom."""
    store: tuple[str, str] = ("", "")
    """Kind and name of the store; empty strings for a generator."""
    generator: tuple[str, str] | None = None
    """Kind and name of the generator."""
    conversion: ConversionStrategy = ConversionStrategy.DEFAULT
    decoding: DecodingStrategy = DecodingStrategy.NONE
    refuse_null_bytes: bool = False

    @property
    def leased(self) -> bool:
        """True where the kind of source alone says that its answer is a lease."""
        return self.generator is not None and self.generator[0] in LEASED_GENERATORS


def entries(secret: ExternalSecret) -> tuple[Entry, ...]:
    """Return the entries in the order in which they apply.

    Raises:
        Misconfigured: an entry names no store or generator, or asks for something that this version does not do.
    """
    spec = secret.spec
    _refuse_repeated(secret)
    if spec.target.manifest is not None:
        raise _unsupported("a target other than a Secret", "spec.target.manifest")
    if spec.sync_windows is not None:
        raise _unsupported("syncWindows", "spec.syncWindows")
    found = [_from_map(secret, f"dataFrom[{index}]", item) for index, item in enumerate(spec.data_from)]
    for index, item in enumerate(spec.data):
        where = f"data[{index}]"
        # ESO ignores sourceRef.generatorRef here: it is deprecated and the store of the object is used.
        store = _store(secret, where, item.source_ref)
        found.append(_from_ref(where, item.remote_ref, store, secret_key=item.secret_key))
    if not found:
        raise Misconfigured("nothing to read", path="spec.data", remedy="set data or dataFrom")
    return tuple(found)


def _refuse_repeated(secret: ExternalSecret) -> None:
    """Raise where a key comes twice: ESO's webhook refuses that unless the deletion policy lets keys vanish."""
    repeated = secret.spec.repeated_keys()
    if repeated and secret.spec.target.deletion_policy is DeletionPolicy.RETAIN:
        raise Misconfigured(
            f"secretKey {', '.join(repeated[:5])} comes more than once",
            path="spec.data",
            remedy="name each secretKey once (with deletionPolicy Retain)",
        )


def _unsupported(what: str, path: str) -> Misconfigured:
    """Return the refusal of a field that would be ignored otherwise: doing something else is worse than nothing."""
    return Misconfigured(
        f"{what} is not supported by this version", path=path, remedy="remove it, or use another controller class"
    )


def _from_map(secret: ExternalSecret, where: str, item: DataFrom) -> Entry:
    path = f"spec.{where}"
    if item.rewrite:
        raise Misconfigured("rewrite is not supported by this version", path=f"{path}.rewrite", remedy="remove it")
    if item.source_ref is not None and item.source_ref.generator_ref is not None:
        ref = item.source_ref.generator_ref
        if ref.kind not in LEASED_GENERATORS:
            raise Misconfigured(
                f"generator kind {ref.kind} is not supported by this version",
                path=f"{path}.sourceRef.generatorRef",
                remedy="use VaultDynamicSecret, or keep this object on another controller class",
            )
        return Entry(id=where, remote=None, generator=(ref.kind, ref.name))
    if item.find is not None:
        raise Misconfigured("find is not supported by this version", path=f"{path}.find", remedy="name the keys")
    if item.extract is None:
        raise Misconfigured("the entry reads nothing", path=path, remedy="set extract, find or sourceRef.generatorRef")
    return _from_ref(where, item.extract, _store(secret, where, item.source_ref))


def _from_ref(where: str, ref: RemoteRef, store: tuple[str, str], *, secret_key: str = "") -> Entry:
    return Entry(
        id=where,
        remote=Remote(ref.key, ref.version or "", metadata=ref.metadata_policy is MetadataPolicy.FETCH),
        field=ref.property or "",
        secret_key=secret_key,
        store=store,
        conversion=ref.conversion_strategy,
        decoding=ref.decoding_strategy,
        refuse_null_bytes=ref.null_byte_policy is NullBytePolicy.FAIL,
    )


def _store(secret: ExternalSecret, where: str, source: SourceRef | None) -> tuple[str, str]:
    ref = source.store_ref if source is not None and source.store_ref is not None else secret.spec.secret_store_ref
    if ref is None or not ref.name:
        raise Misconfigured(
            "no store to read from", path=f"spec.{where}", remedy="set spec.secretStoreRef.name or its own sourceRef"
        )
    return ref.kind.value, ref.name


def stores(found: tuple[Entry, ...]) -> tuple[tuple[str, str], ...]:
    """Return kind and name of each distinct store that the entries name, in order."""
    return tuple(dict.fromkeys(entry.store for entry in found if entry.generator is None))


def lease_sources(found: tuple[Entry, ...]) -> dict[str, str]:
    """Return for each entry the id under which its lease is recorded: that of the first entry with the same remote.

    Entries that take several properties of one credential must share it. A generator runs for each of its entries.
    """
    first: dict[object, str] = {}
    return {
        entry.id: entry.id if entry.remote is None else first.setdefault((entry.store, entry.remote), entry.id)
        for entry in found
    }


def lease_hash(entry: Entry, backend: object, account: str) -> str:
    """Return the hash of what a leased source says: another hash means another credential.

    ``backend`` is the JSON-ready description of the generator's or store's provider, ``account`` who logs in.
    """
    remote = entry.remote
    text = json.dumps(
        [entry.generator, entry.store, [remote.path, remote.version] if remote else None, backend, account],
        sort_keys=True,
        separators=(",", ":"),
        default=str,
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def mint_request(remote: Remote, mount: str) -> MintRequest:
    """Return the request for a leased answer of a store read: the mount and the path, read by GET."""
    prefix = mount.strip("/")
    path = remote.path.strip("/")
    full = path if not prefix or path == prefix or path.startswith(f"{prefix}/") else f"{prefix}/{path}"
    return MintRequest(path=full)


Answers = Mapping[str, Document | SecretMap]
"""Entry id -> the document that was read for it, or the values of its lease."""


def assemble(
    found: tuple[Entry, ...], answers: Answers, *, absent: frozenset[str] = frozenset()
) -> dict[str, SecretBytes]:
    """Return the keys and values for the template, from the answers in the order of the entries.

    ``absent`` are entries whose remote secret is gone and whose deletion policy lets them vanish.

    Raises:
        Missing: a property is not there.
        Misconfigured: a key is invalid or collides, a value does not decode or holds a null byte.
    """
    result: dict[str, SecretBytes] = {}
    for entry in found:
        if entry.id in absent:
            continue
        answer = answers[entry.id]
        if entry.secret_key:
            value = _leased_value(entry, answer) if isinstance(answer, Mapping) else answer.value(entry.field)
            result[entry.secret_key] = _finish(entry, entry.secret_key, value)
        else:
            members = _leased_members(entry, answer) if isinstance(answer, Mapping) else answer.entries(entry.field)
            result.update(_members(entry, members))
    return result


def _leased_value(entry: Entry, values: SecretMap) -> SecretBytes:
    """Return one property of a leased answer, or all of it as the JSON text that a static secret would give."""
    if not entry.field:
        plain = {key: values[key].reveal().decode("utf-8", "replace") for key in sorted(values)}
        return SecretBytes(json.dumps(plain, separators=(",", ":"), ensure_ascii=False))
    if entry.field not in values:
        raise Missing(f"there is no property {entry.field}", path=f"spec.{entry.id}", remedy="name one that is given")
    return values[entry.field]


def _leased_members(entry: Entry, values: SecretMap) -> SecretMap:
    if entry.field:
        raise Misconfigured(
            "a leased answer has no property that is a map", path=f"spec.{entry.id}", remedy="remove property"
        )
    return values


def _members(entry: Entry, members: SecretMap) -> dict[str, SecretBytes]:
    converted = keys.convert_keys(members, entry.conversion, where=f"spec.{entry.id}")
    for key in converted:
        keys.check_key(key, where=f"spec.{entry.id}")
    return {key: _finish(entry, key, value) for key, value in converted.items()}


def _finish(entry: Entry, key: str, value: SecretBytes) -> SecretBytes:
    decoded = keys.decode(value, entry.decoding, where=f"spec.{entry.id}", key=key)
    if entry.refuse_null_bytes and b"\x00" in decoded.reveal():
        raise Misconfigured(
            f"the value of key {key} holds a null byte", path=f"spec.{entry.id}", remedy="set nullBytePolicy to Ignore"
        )
    return decoded
