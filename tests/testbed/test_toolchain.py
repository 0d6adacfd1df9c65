"""Which Go is good enough, and what is done without one."""

from pathlib import Path

import pytest

from testbed import toolchain
from testbed.errors import BedError


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go version go1.27 linux/arm64", (1, 27, 0)),
        ("go version go1.27rc1 linux/arm64", (1, 27, 0)),
        ("go version devel +abc", None),
        ("", None),
    ],
)
def test_reads_the_release(text: str, release: tuple[int, ...] | None) -> None:
    assert toolchain.parse_release(text) == release


def pretend_go(folder: Path, said: str, *, code: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "go"
    program.write_text(f"#!/bin/sh\necho '{said}'\nexit {code}\n")
    program.chmod(0o755)
    return program


def test_takes_a_new_go_and_refuses_others(tmp_path: Path) -> None:
    good = toolchain.inspect(pretend_go(tmp_path / "a", "go version go1.26.0 linux/amd64"))
    assert good is not None
    assert good.release == (1, 26, 0)

    assert toolchain.inspect(pretend_go(tmp_path / "b", "go version go1.25.9 linux/amd64")) is None
    assert toolchain.inspect(pretend_go(tmp_path / "c", "go version go1.26.0", code=2)) is None
    assert toolchain.inspect(tmp_path / "nowhere") is None


def test_prefers_the_go_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = pretend_go(tmp_path / "bin", "go version go1.30.1 linux/amd64")
    monkeypatch.setenv("PATH", str(program.parent))

    assert toolchain.find(tmp_path / "cache").program == program


def test_takes_an_installed_wheel_when_path_has_an_old_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = pretend_go(tmp_path / "bin", "go version go1.19.8 linux/amd64")
    monkeypatch.setenv("PATH", f"{old.parent}:/usr/bin:/bin")
    wheel = tmp_path / "cache" / "go" / toolchain.WHEEL.replace("==", "-") / "go" / "bin"
    program = pretend_go(wheel, "go version go1.26.6 linux/amd64")

    assert toolchain.find(tmp_path / "cache").program == program


def test_says_what_was_tried_when_there_is_no_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "installers", lambda target: iter([("/none/pip", "install"), ("false",)]))

    with pytest.raises(BedError, match=r"(?s)no Go 1\.26.*/none/pip: No such file.*remedy: put Go 1\.26"):
        toolchain.install(tmp_path)


def test_go_never_fetches_another_toolchain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOTOOLCHAIN", "auto")
    monkeypatch.setenv("GOFLAGS", "-mod=vendor")

    environ = toolchain.Go(Path("go"), (1, 26, 0)).environ

    assert environ["GOTOOLCHAIN"] == "local"
    assert "-mod=readonly" in environ["GOFLAGS"]
    assert environ["CGO_ENABLED"] == "0"
