"""Docstrings of enum members: the text under each member, which Python itself forgets."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from enum import Enum


def members(kind: type[Enum]) -> Iterator[tuple[Enum, str]]:
    """Yield each member with its docstring on one line, "" where it has none."""
    (definition,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(definition, ast.ClassDef)
    texts: dict[str, str] = {}
    name = ""
    for node in definition.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]):
                continue
            case ast.Expr(value=ast.Constant(value=str(text))) if name:
                texts[name] = " ".join(text.split())
        name = ""
    for member in kind:
        yield member, texts.get(member.name, "")
