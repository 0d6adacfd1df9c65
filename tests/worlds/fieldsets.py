"""Who owns which field: managedFields as the API server keeps them for creates, updates and server-side apply.

Maps are walked to their leaves, lists count as one leaf, except ownerReferences (by uid) and finalizers (a set).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any, Protocol

Path = tuple[str, ...]
_UNOWNED = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "managedFields",
    }
)


class Writer(Protocol):
    """Who writes, and how."""

    manager: str
    operation: str
    subresource: str


def written(old: Mapping[str, Any] | None, new: Mapping[str, Any], writer: Writer, *, now: str) -> list[dict[str, Any]]:
    """Return the managedFields after a write: changed fields are the writer's, removed ones nobody's."""
    before, after = leaves(old or {}), leaves(new)
    changed = {path for path in after if path not in before or before[path] != after[path]}
    entries = copy.deepcopy(list(((old or {}).get("metadata") or {}).get("managedFields") or ()))
    ours = next((entry for entry in entries if _is(entry, writer)), None)
    owned: set[Path] = set()
    if ours is not None:
        owned = parse(ours["fieldsV1"])
        entries.remove(ours)
    kept = []
    for entry in entries:
        rest = (parse(entry["fieldsV1"]) - changed) & after.keys()
        if rest:
            kept.append({**entry, "fieldsV1": render(rest)})
    owned = (owned | changed) & after.keys()
    if owned:
        entry = {
            "manager": writer.manager,
            "operation": writer.operation,
            "apiVersion": new.get("apiVersion", "v1"),
            "time": now,
            "fieldsType": "FieldsV1",
            "fieldsV1": render(owned),
        }
        kept.append({**entry, **({"subresource": writer.subresource} if writer.subresource else {})})
    return kept


def applied(old: Mapping[str, Any], wanted: Mapping[str, Any], writer: Writer) -> dict[str, Any]:
    """Return the object with a configuration laid over it, without what the manager applied before and nobody owns."""
    new = copy.deepcopy(dict(old))
    entries = (old["metadata"].get("managedFields")) or ()
    before: set[Path] = set()
    others: set[Path] = set()
    for entry in entries:
        (before if _is(entry, writer) else others).update(parse(entry["fieldsV1"]))
    for path in before - leaves(wanted).keys() - others:
        _remove(new, path)
    for path, value in leaves(wanted).items():
        _set(new, path, value)
    return new


def leaves(body: Mapping[str, Any]) -> dict[Path, Any]:
    """Return path -> value of every owned leaf."""
    found: dict[Path, Any] = {}
    for key, value in body.items():
        if key in ("apiVersion", "kind"):
            continue
        if key == "metadata":
            _metadata(value, found)
        else:
            _walk((key,), value, found)
    return found


def _metadata(metadata: Mapping[str, Any], found: dict[Path, Any]) -> None:
    for key, value in metadata.items():
        if key in _UNOWNED:
            continue
        if key == "ownerReferences":
            for ref in value:
                found["metadata", key, "k:" + json.dumps({"uid": ref["uid"]}, separators=(",", ":"))] = ref
        elif key == "finalizers":
            for name in value:
                found["metadata", key, "v:" + json.dumps(name)] = name
        else:
            _walk(("metadata", key), value, found)


def _walk(path: Path, value: Any, found: dict[Path, Any]) -> None:
    if isinstance(value, Mapping) and value:
        for key, member in value.items():
            _walk((*path, key), member, found)
    elif value is not None and value != {} and value != []:
        found[path] = value


def render(paths: set[Path]) -> dict[str, Any]:
    """Return fieldsV1."""
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        node = tree
        for step in path:
            node = node.setdefault(step if step.startswith(("k:", "v:")) else f"f:{step}", {})
    return tree


def parse(tree: Mapping[str, Any], path: Path = ()) -> set[Path]:
    """Return the paths of fieldsV1."""
    if not tree:
        return {path}
    return {found for step, below in tree.items() for found in parse(below, (*path, step.removeprefix("f:")))}


def _is(entry: Mapping[str, Any], writer: Writer) -> bool:
    return (entry["manager"], entry["operation"], entry.get("subresource", "")) == (
        writer.manager,
        writer.operation,
        writer.subresource,
    )


def _remove(body: dict[str, Any], path: Path) -> None:
    node = body
    for step in path[:-1]:
        if not isinstance(node.get(step), dict):
            return
        node = node[step]
    node.pop(path[-1], None)


def _set(body: dict[str, Any], path: Path, value: Any) -> None:
    node = body
    for step in path[:-1]:
        node = node.setdefault(step, {})
    node[path[-1]] = copy.deepcopy(value)
