"""The image's promises, read from Dockerfile and lock: no daemon is needed to break them, nor to see them broken."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
LINES = [line for line in TEXT.splitlines() if line and not line.startswith("#")]
STAGES = [[line] for line in LINES if line.startswith("FROM ")]
LAST = LINES[max(index for index, line in enumerate(LINES) if line.startswith("FROM ")) :]


def _instructions(name: str) -> list[str]:
    return [line.removeprefix(f"{name} ") for line in LAST if line.startswith(f"{name} ")]


def _shipped() -> set[str]:
    """The packages that the lock gives to an install without groups and extras."""
    packages = {
        package["name"]: package for package in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    }
    seen: set[str] = set()
    waiting = ["leasehold"]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += [dependency["name"] for dependency in packages[name].get("dependencies", ())]
    return seen


def test_several_stages_and_a_slim_last_one() -> None:
    assert len(STAGES) >= 2
    assert re.fullmatch(r"FROM (python:\S+-slim|gcr\.io/distroless/\S+)", LAST[0])


def test_the_uid_is_a_number_and_not_root() -> None:
    (user,) = _instructions("USER")
    uid, _, gid = user.partition(":")
    assert int(uid) >= 10_000
    assert int(gid) >= 10_000


def test_the_uid_has_a_passwd_entry_and_other_uids_a_name() -> None:
    (user,) = _instructions("USER")
    uid = user.partition(":")[0]
    assert any(re.search(rf"useradd\b.*--uid {uid}\b", line) for line in _instructions("RUN"))
    assert any(re.search(r"\bUSER=\w+", line) for line in _instructions("ENV"))


def test_nothing_is_written_at_run_time() -> None:
    assert any("PYTHONDONTWRITEBYTECODE=1" in line for line in _instructions("ENV"))
    assert "--compile-bytecode" in TEXT
    assert not _instructions("VOLUME")
    assert not _instructions("WORKDIR")


def test_no_compiler_and_no_installer_in_the_last_stage() -> None:
    assert not re.search(r"\b(apt-get|apk|gcc|build-essential|pip install|uv )", "\n".join(LAST))
    assert "pip uninstall --yes pip" in "\n".join(LAST)


def test_dependencies_come_from_the_lock_without_groups_and_extras() -> None:
    syncs = re.findall(r"uv sync .*", TEXT)
    assert len(syncs) == 2
    for sync in syncs:
        assert "--frozen" in sync
        assert "--no-default-groups" in sync
        assert "--extra" not in sync
        assert "--group" not in sync


def test_the_lock_ships_what_the_operator_needs_and_not_the_kubernetes_client() -> None:
    shipped = _shipped()
    assert {"kopf", "hvac", "aiohttp", "cryptography", "typer"} <= shipped
    assert not shipped & {"kubernetes", "pykube-ng", "pytest", "mypy", "ruff", "boto3"}


def test_it_runs_the_operator() -> None:
    assert _instructions("ENTRYPOINT") == ['["leasehold"]']
    assert _instructions("CMD") == ['["run"]']


def test_only_sources_reach_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {
        word for line in LINES if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    }
    assert copied <= allowed
