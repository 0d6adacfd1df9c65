"""Generating: what differs is said without touching it, written when asked, and stale files go."""

from pathlib import Path

import pytest

from tools import generate
from tools.generate import PRODUCTS, Difference, Product

TEXTS = {"out/a.txt": "one\n", "out/deep/b.txt": "two\n"}
MAKER = Product("a maker", f"{__name__}:make", owned=("out/*.txt",))


@pytest.fixture(autouse=True)
def _maker(monkeypatch: pytest.MonkeyPatch) -> None:
    # Test modules have no importable name here, so the product's function is handed over directly.
    monkeypatch.setattr(Product, "render", lambda self: dict(TEXTS))


def _found(root: Path) -> dict[str, str]:
    return {one.path: str(one).splitlines()[0] for one in generate.differences(root, (MAKER,))}


def test_missing_changed_and_stale_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.txt").write_text("other\n", encoding="utf-8")
    (tmp_path / "out/old.txt").write_text("", encoding="utf-8")
    (tmp_path / "out/kept.md").write_text("", encoding="utf-8")
    assert _found(tmp_path) == {
        "out/a.txt": "--- out/a.txt",
        "out/deep/b.txt": "out/deep/b.txt is missing",
        "out/old.txt": "out/old.txt is no longer generated",
    }
    assert (tmp_path / "out/a.txt").read_text(encoding="utf-8") == "other\n"


def test_writing_leaves_no_difference(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old.txt").write_text("", encoding="utf-8")
    for difference in list(generate.differences(tmp_path, (MAKER,))):
        generate.write(difference, tmp_path)
    assert not _found(tmp_path)
    assert not (tmp_path / "out/old.txt").exists()


def test_a_long_difference_is_cut() -> None:
    text = "".join(f"line {number}\n" for number in range(500))
    shown = str(Difference("x", text, "")).splitlines()
    assert len(shown) < 40
    assert shown[-1].endswith("more lines")


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.name)
def test_what_is_committed_is_what_would_be_generated(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert not [str(one) for one in generate.differences(products=(product,))]
