"""Write everything that is generated, or (--check) say what differs, touching nothing.

A product is a function that returns texts by path. `make generate` writes them and removes what no product makes any
more; `make lint` compares them in memory, so a check never changes the tree.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_SHOWN = 30
"""Most lines of one difference that are printed."""


@dataclass(frozen=True, slots=True)
class Product:
    """One thing that is generated."""

    name: str
    source: str
    """``module:function``; the function returns text by path, relative to the root."""
    owned: tuple[str, ...] = ()
    """Globs of files that only this product makes: those it does not return are stale."""

    def render(self) -> Mapping[str, str]:
        """Return the texts as they should be."""
        module, _, function = self.source.partition(":")
        rendered: Mapping[str, str] = getattr(importlib.import_module(module), function)()
        return rendered


PRODUCTS: tuple[Product, ...] = (
    Product("CustomResourceDefinitions", "tools.reference:crds", owned=("crds/*.yaml",)),
    Product("reference pages", "tools.reference:pages"),
    Product("messages", "tools.messages:pages"),
    Product("chart", "tools.chart:generate", owned=("charts/leasehold/templates/crds/*.yaml",)),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One file that is not as it should be."""

    path: str
    wanted: str | None
    """None where the file should not be there."""
    found: str | None
    """None where it is missing."""

    def __str__(self) -> str:
        if self.wanted is None:
            return f"{self.path} is no longer generated"
        if self.found is None:
            return f"{self.path} is missing"
        lines = difflib.unified_diff(
            self.found.splitlines(), self.wanted.splitlines(), self.path, "as generated", lineterm="", n=1
        )
        shown = list(lines)
        more = [f"... {len(shown) - _SHOWN} more lines"] if len(shown) > _SHOWN else []
        return "\n".join([*shown[:_SHOWN], *more])


def differences(root: Path = ROOT, products: tuple[Product, ...] = PRODUCTS) -> Iterator[Difference]:
    """Yield every file under the root that differs from what the products make."""
    for product in products:
        wanted = product.render()
        for path, text in wanted.items():
            file = root / path
            found = file.read_text(encoding="utf-8") if file.is_file() else None
            if found != text:
                yield Difference(path, text, found)
        for pattern in product.owned:
            for file in sorted(root.glob(pattern)):
                path = file.relative_to(root).as_posix()
                if path not in wanted:
                    yield Difference(path, None, "")


def write(difference: Difference, root: Path = ROOT) -> None:
    """Make one file as it should be."""
    file = root / difference.path
    if difference.wanted is None:
        file.unlink()
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(difference.wanted, encoding="utf-8")


def main() -> int:
    """Write or check; return 1 where a check finds a difference."""
    parser = argparse.ArgumentParser(description="Write everything that is generated.")
    parser.add_argument("--check", action="store_true", help="only say what differs; exit 1 if anything does")
    check = parser.parse_args().check
    found = list(differences())
    for difference in found:
        if check:
            print(difference)
        else:
            write(difference)
            print(f"wrote {difference.path}" if difference.wanted is not None else f"removed {difference.path}")
    if check and found:
        print(f"{len(found)} generated file(s) differ: run `make generate` and commit the result")
        return 1
    print("generated files are up to date" if not found else f"{len(found)} file(s) changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
