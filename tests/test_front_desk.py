"""The front desk: what make offers, and that continuous integration is no more than it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
VERBS = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()  # type: ignore[index]


def _dry_run(*words: str) -> str:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    done = subprocess.run([make, "--dry-run", *words], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout


def test_help_lists_every_verb() -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    text = subprocess.run([make, "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for verb in VERBS:
        assert re.search(rf"^  make {verb} +\S", text, re.MULTILINE)


def test_check_is_lint_and_test() -> None:
    assert re.search(r"^check: lint test ##", MAKEFILE, re.MULTILINE)
    told = _dry_run("check")
    for command in ("ruff check", "ruff format --check", "mypy", "lint-imports", "tools.generate --check", "pytest"):
        assert command in told


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], "e2e.demo"),
        (["KEEP=1"], "e2e.demo --keep"),
        (["NODE=real"], "e2e.demo --node real"),
        (["KEEP=1", "NODE=real"], "e2e.demo --keep --node real"),
    ],
)
def test_demo_passes_its_options_on(words: list[str], wanted: str) -> None:
    lines = [" ".join(line.split()) for line in _dry_run("demo", *words).splitlines()]
    assert any(line.endswith(f"-m {wanted}") for line in lines)


def test_continuous_integration_calls_make_check_only() -> None:
    file = ROOT / ".ci" / "run"
    assert file.stat().st_mode & 0o111
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert lines == ["set -euo pipefail", 'cd "$(dirname "${BASH_SOURCE[0]}")/.."', "exec make check </dev/null"]


def test_uv_is_pinned_once() -> None:
    pinned = re.search(r"^UV_VERSION := (\S+)$", MAKEFILE, re.MULTILINE)
    assert pinned is not None
    assert f"ARG UV_VERSION={pinned[1]}\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_hooks_fetch_nothing() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in hooks["repos"]] == ["local"]
    assert {hook["language"] for hook in hooks["repos"][0]["hooks"]} == {"system"}


def test_news_fragments_have_an_issue_and_a_known_type() -> None:
    for file in (ROOT / "news.d").iterdir():
        if file.name != "README.md":
            assert re.fullmatch(r"[0-9]+(\.[0-9]+)?\.(feature|change|fix)\.md", file.name)
