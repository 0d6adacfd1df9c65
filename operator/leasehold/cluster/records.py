"""Lease records: one Secret per leased ExternalSecret in the operator's own namespace, all held in memory once loaded.

The record holds the values too (docs/decisions/0002): whoever may read it may use the credentials, so nobody but the
operator should.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import orjson

from leasehold.cluster.api import SECRETS, KubeApi, Request
from leasehold.cluster.secrets import decode, encode
from leasehold.domain.errors import Conflict, Misconfigured, Missing
from leasehold.domain.lease import Intent, Lease, LeaseRecord, OldLease, SourceRecord
from leasehold.domain.values import SecretBytes

TYPE = "leasehold.dev/lease"
LABEL = "leasehold.dev/record"
ANNOTATION = "leasehold.dev/external-secret"
FIELD = "record.json"
VERSION = 1
_MANAGER = "leasehold"


class KubeRecords:
    """ports.Records on the API server."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        """Take the client and the operator's namespace; call ``load`` before anything else."""
        self._api, self._namespace = api, namespace
        self._held: dict[str, LeaseRecord] = {}
        self._versions: dict[str, str] = {}

    async def load(self) -> None:
        """Read all records.

        Raises:
            Misconfigured: a record was written by a later version of the operator.
            DomainError: the API server refused or did not answer.
        """
        listed = await self._api.send(
            Request("list", SECRETS, self._namespace, params={"labelSelector": f"{LABEL}=lease"})
        )
        held: dict[str, LeaseRecord] = {}
        versions: dict[str, str] = {}
        for item in listed.get("items") or ():
            record = parse(decode(item.get("data")), where=f"Secret {self._namespace}/{item['metadata']['name']}")
            held[record.uid] = record
            versions[record.uid] = item["metadata"]["resourceVersion"]
        self._held, self._versions = held, versions

    def get(self, uid: str) -> LeaseRecord | None:
        """Return the record of the ExternalSecret with that uid, from memory."""
        return self._held.get(uid)

    def all(self) -> Collection[LeaseRecord]:
        """Return every record."""
        return tuple(self._held.values())

    def note(self, record: LeaseRecord) -> None:
        """Replace the record in memory only."""
        self._held[record.uid] = record

    async def save(self, record: LeaseRecord) -> None:
        """Write the record; memory follows only when the API server has it."""
        version = self._versions.get(record.uid, "")
        try:
            written = await self._write(record, version)
        except (Conflict, Missing):
            # Nobody but us writes records: an earlier answer was lost, or somebody deleted ours.
            live = await self._api.get(SECRETS, self._namespace, name(record.uid))
            written = await self._write(record, "" if live is None else live["metadata"]["resourceVersion"])
        self._versions[record.uid] = written
        self._held[record.uid] = record

    async def _write(self, record: LeaseRecord, version: str) -> str:
        verb = "update" if version else "create"
        request = Request(
            verb,
            SECRETS,
            self._namespace,
            name(record.uid) if version else "",
            params={"fieldManager": _MANAGER},
            body=_body(record, self._namespace, version),
        )
        return str((await self._api.send(request))["metadata"]["resourceVersion"])

    async def delete(self, uid: str) -> None:
        """Remove the record; gone already is success."""
        with contextlib.suppress(Missing):
            await self._api.send(Request("delete", SECRETS, self._namespace, name(uid)))
        self._held.pop(uid, None)
        self._versions.pop(uid, None)


def name(uid: str) -> str:
    """Return the name of a record's Secret."""
    return f"leasehold-lease-{hashlib.sha256(uid.encode()).hexdigest()[:20]}"


def _body(record: LeaseRecord, namespace: str, version: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name(record.uid),
        "namespace": namespace,
        "labels": {LABEL: "lease", "app.kubernetes.io/managed-by": "leasehold"},
        "annotations": {ANNOTATION: f"{record.namespace}/{record.name}"},
    }
    if version:
        metadata["resourceVersion"] = version
    return {"apiVersion": "v1", "kind": "Secret", "type": TYPE, "metadata": metadata, "data": encode(render(record))}


# ---------------------------------------------------------------------------------------------------------------- text


def render(record: LeaseRecord) -> dict[str, SecretBytes]:
    """Return the record as the data of a Secret."""
    return {FIELD: SecretBytes(orjson.dumps({"version": VERSION, **_plain(record)}))}


def _plain(value: Any) -> Any:
    """Return dataclasses as dicts and hidden values as base64 (``asdict`` would copy, which these refuse)."""
    if isinstance(value, SecretBytes):
        return base64.b64encode(value.reveal()).decode()
    if is_dataclass(value):
        return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(member) for key, member in value.items()}
    return [_plain(member) for member in value] if isinstance(value, tuple) else value


def parse(data: Mapping[str, SecretBytes], *, where: str) -> LeaseRecord:
    """Return the record that a Secret's data holds.

    Raises:
        Misconfigured: it is no record, or one of a later version.
    """
    try:
        plain = orjson.loads(data[FIELD].reveal())
        version = int(plain["version"])
        if version <= VERSION:
            return _record(plain)
    except (KeyError, ValueError, TypeError, AttributeError):
        version = 0
    # raised outside the handler: its error would keep the record alive
    if version > VERSION:
        raise Misconfigured(
            f"it was written by a later operator (record version {version})", path=where, remedy="upgrade the operator"
        )
    raise Misconfigured("it is no lease record", path=where, remedy="delete it, or restore it")


def _record(plain: Mapping[str, Any]) -> LeaseRecord:
    return LeaseRecord(
        uid=plain["uid"],
        namespace=plain["namespace"],
        name=plain["name"],
        sources={source: _source(held) for source, held in plain["sources"].items()},
        on_delete=plain["on_delete"],
        orphaned_at=plain["orphaned_at"],
    )


def _source(plain: Mapping[str, Any]) -> SourceRecord:
    intent, current = plain["intent"], plain["current"]
    return SourceRecord(
        source_hash=plain["source_hash"],
        connection=plain["connection"],
        intent=Intent(_secret(intent["owner"]), intent["at"], intent["ttl"]) if intent else None,
        current=_lease(current) if current else None,
        old=tuple(OldLease(_lease(old["lease"]), old["replaced_at"], old["until"]) for old in plain["old"]),
        lost=plain["lost"],
        life=plain["life"],
    )


def _lease(plain: Mapping[str, Any]) -> Lease:
    hidden = {
        "lease_id": _secret(plain["lease_id"]),
        "owner": _secret(plain["owner"]),
        "values": {key: _secret(value) for key, value in plain["values"].items()},
    }
    return Lease(**{**plain, **hidden})


def _secret(text: str) -> SecretBytes:
    return SecretBytes(base64.b64decode(text))
