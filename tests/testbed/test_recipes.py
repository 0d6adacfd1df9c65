"""The key of a recipe changes with all that decides what is built, and with nothing else."""

import dataclasses
import re
from pathlib import Path

import pytest

from testbed import recipes
from testbed.recipes import Binary, Recipe

PLATFORM = "linux-x86_64"


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr(recipes, "HERE", tmp_path)
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "go.mod").write_text("module tool\n")
    (tmp_path / "tool" / "go.sum").write_text("example.com/a v1.0.0 h1:x=\n")
    return Recipe("tool", "example.com/tool", (Binary("tool", "example.com/tool/cmd/tool"),))


def test_the_key_is_the_same_for_the_same_recipe(recipe: Recipe) -> None:
    assert recipe.key(platform=PLATFORM) == dataclasses.replace(recipe).key(platform=PLATFORM)
    assert re.fullmatch(r"tool-[0-9a-f]{12}", recipe.key(platform=PLATFORM))


@pytest.mark.parametrize(
    "change",
    [
        {"tags": ("minimal",)},
        {"stamps": ("main.version=2",)},
        {"keeps": ("docs",)},
        {"binaries": (Binary("tool", "example.com/tool/cmd/other"),)},
        {"binaries": (Binary("bin/tool", "example.com/tool/cmd/tool"),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_key_changes_with_the_recipe(recipe: Recipe, change: dict[str, object]) -> None:
    changed = dataclasses.replace(recipe, **change)  # type: ignore[arg-type]

    assert changed.key(platform=PLATFORM) != recipe.key(platform=PLATFORM)


@pytest.mark.parametrize("name", ["go.mod", "go.sum"])
def test_the_key_changes_with_the_module_files(recipe: Recipe, name: str) -> None:
    before = recipe.key(platform=PLATFORM)

    (recipe.folder / name).write_text("changed\n")

    assert recipe.key(platform=PLATFORM) != before


def test_the_key_changes_with_the_platform(recipe: Recipe) -> None:
    assert recipe.key(platform="linux-aarch64") != recipe.key(platform=PLATFORM)


def test_the_key_tells_parts_apart(recipe: Recipe) -> None:
    one = dataclasses.replace(recipe, keeps=("ab", "c"))
    two = dataclasses.replace(recipe, keeps=("a", "bc"))

    assert one.key(platform=PLATFORM) != two.key(platform=PLATFORM)


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("go.etcd.io/etcd/server/v3", "server"),
        ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
        ("helm.sh/helm/v3/cmd/helm", "helm"),
    ],
)
def test_a_program_is_found_under_the_name_go_gives_it(package: str, name: str) -> None:
    assert Binary("place/x", package).go_name == name


def test_names_of_programs_are_unique() -> None:
    names = [binary.name for recipe in recipes.ALL for binary in recipe.binaries]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("recipe", recipes.ALL, ids=lambda recipe: recipe.family)
def test_every_module_is_pinned_and_summed(recipe: Recipe) -> None:
    module = (recipe.folder / "go.mod").read_text()
    sums = (recipe.folder / "go.sum").read_text()

    version = re.search(rf"^require {re.escape(recipe.module)} (v\S+)$", module, re.MULTILINE)
    assert version, f"{recipe.family}/go.mod does not require {recipe.module}"
    assert f"{recipe.module} {version[1]} h1:" in sums
