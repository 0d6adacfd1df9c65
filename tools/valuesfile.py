"""The chart's values.yaml as data: each value with its description, default and what is allowed.

The file itself is the source of what stands in it, apart from the operator's settings, whose comment and default are
written into it from `leasehold.settings`. Grammar of its comments: `## Title` opens a section; the comment block
right above a key is its description, in which a line `# schema: {…}` adds to the JSON schema of that value and makes
a mapping one value instead of a group.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from leasehold.api import duration
from leasehold.settings import Setting

_WIDTH = 118
_SECTION = "## "
_SCHEMA = "schema: "


@dataclass(frozen=True, slots=True)
class Value:
    """One value that can be set."""

    path: tuple[str, ...]
    default: Any
    section: str
    description: str
    allowed: Mapping[str, Any]
    """JSON schema."""
    line: int
    """Index of the key's line."""
    column: int

    @property
    def dotted(self) -> str:
        """The path as `--set` takes it."""
        return ".".join(self.path)


def read(text: str) -> tuple[Value, ...]:
    """Return all values in the order of the file. Raises ValueError for a value without a comment."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    return tuple(_walk(root, (), text.splitlines()))


def settle(text: str, settings: Iterable[Setting]) -> str:
    """Return the file with comment and default of every setting as the settings have them.

    Raises ValueError for a setting that has no key in the file.
    """
    values = {value.dotted: value for value in read(text)}
    lines = text.splitlines()
    changes: list[tuple[int, int, list[str]]] = []
    for setting in settings:
        if setting.chart not in values:
            raise ValueError(f"values.yaml has no {setting.chart} for {setting.flag}; add the key")
        value = values[setting.chart]
        indent = " " * value.column
        comment = textwrap.wrap(setting.description, _WIDTH - value.column - 2, break_on_hyphens=False)
        key = f"{indent}{value.path[-1]}: {_scalar(default(setting))}"
        start = value.line - len(_block(lines, value.line, value.column))
        changes.append((start, value.line + 1, [*(f"{indent}# {line}" for line in comment), key]))
    for start, end, wanted in sorted(changes, reverse=True):
        lines[start:end] = wanted
    return "\n".join(lines) + "\n"


def default(setting: Setting) -> bool | int | str:
    """Return a setting's default as the chart has it."""
    match setting.kind:
        case "bool":
            return setting.default == "true"
        case "count":
            return int(setting.default)
        case _:
            return setting.default


def schema(values: Iterable[Value], settings: Iterable[Setting]) -> dict[str, Any]:
    """Return the JSON schema (draft 7) of all values: nothing else is taken, so that a typing error is refused."""
    kinds = {setting.chart: setting.kind for setting in settings}
    root = _group()
    for value in values:
        place = root
        for name in value.path[:-1]:
            place = place["properties"].setdefault(name, _group())
        allowed = _setting_schema(kinds[value.dotted]) if value.dotted in kinds else value.allowed
        place["properties"][value.path[-1]] = {"description": value.description, **allowed}
    return root


def _group() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _setting_schema(kind: str) -> dict[str, Any]:
    match kind:
        case "bool":
            return {"type": "boolean"}
        case "count":
            return {"type": "integer", "minimum": 1, "maximum": 10_000}
        case "duration":
            return {"type": "string", "pattern": duration.NONNEGATIVE}
        case "address":
            return {"type": ["string", "integer"], "pattern": "^0?$|:[0-9]{1,5}$", "minimum": 0, "maximum": 0}
        case "text":
            return {"type": "string"}
        case _:
            return {"enum": kind.split("|")}


def _walk(node: yaml.MappingNode, path: tuple[str, ...], lines: list[str]) -> Iterator[Value]:
    for key, child in node.value:
        here = (*path, key.value)
        line, column = key.start_mark.line, key.start_mark.column
        description, extra = _comment(lines, line, column)
        if isinstance(child, yaml.MappingNode) and child.value and extra is None:
            yield from _walk(child, here, lines)
            continue
        if not description:
            raise ValueError(f"values.yaml: {'.'.join(here)} (line {line + 1}) has no comment")
        value = yaml.SafeLoader("").construct_document(child)
        allowed = {**_inferred(value), **(extra or {})}
        yield Value(here, value, _section(lines, line), description, allowed, line, column)


def _inferred(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case str():
            return {"type": "string"}
        case list():
            return {"type": "array"}
        case dict():
            return {"type": "object"}
        case _:
            raise ValueError(f"values.yaml: a default of type {type(value).__name__} needs a schema")


def _comment(lines: list[str], line: int, column: int) -> tuple[str, dict[str, Any] | None]:
    """Return description and schema from the comment block above a line."""
    words: list[str] = []
    extra: dict[str, Any] | None = None
    for text in _block(lines, line, column):
        if text.startswith(_SCHEMA):
            extra = yaml.safe_load(text.removeprefix(_SCHEMA))
        else:
            words.append(text)
    return " ".join(words), extra


def _block(lines: list[str], line: int, column: int) -> list[str]:
    """Return the texts of the comment lines right above a line, with its indentation."""
    prefix = " " * column + "#"
    found: list[str] = []
    while line and lines[line - 1].startswith(prefix) and not lines[line - 1].startswith(_SECTION):
        line -= 1
        found.insert(0, lines[line].removeprefix(prefix).strip())
    return found


def _section(lines: list[str], line: int) -> str:
    for text in reversed(lines[:line]):
        if text.startswith(_SECTION):
            return text.removeprefix(_SECTION).strip()
    raise ValueError(f"values.yaml: line {line + 1} stands before the first section")


def _scalar(value: object) -> str:
    return '""' if value == "" else yaml.safe_dump(value).removesuffix("...\n").strip()


def show(value: Any) -> str:
    """Return a default as the README shows it."""
    return json.dumps(value, ensure_ascii=False) if value != "" else '""'
