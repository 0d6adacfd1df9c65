"""Runs Go for one family: fetches the modules its programs need, then compiles them. Knows no cache and no order.

Fetching is `go list -deps`: it downloads only the modules that provide a package of the build, where
`go mod download` would take the whole module graph (for Vault that is every cloud's SDK).
"""

import collections
import re
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testbed.errors import BedError
from testbed.progress import Console
from testbed.recipes import Binary, Recipe
from testbed.toolchain import Go

HEARTBEAT = 15.0
_MODULE = re.compile(r"([\w.-]+\.[\w-]+(?:/[\w.~!-]+)+)@(v[\w.+-]+)")
_NETWORK = re.compile(
    r"dial tcp|no such host|connection refused|i/o timeout|TLS handshake|network is unreachable"
    r"|unexpected EOF|connection reset|proxyconnect|server misbehaving|Bad Gateway|Service Unavailable"
)
_CHECKSUM = re.compile(r"checksum mismatch|missing go\.sum entry|updates to go\.mod needed")


@dataclass
class Running:
    """The Go calls that run now, so that a failure in one family can end those of the others."""

    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    ended: bool = False

    def start(self, command: Sequence[str], *, folder: Path, environ: dict[str, str]) -> subprocess.Popen[str]:
        """Start a call; raises BedError when `end` was called before."""
        with self.lock:
            if self.ended:
                raise BedError("the build was ended")
            process = subprocess.Popen(
                command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            self.processes.append(process)
            return process

    def end(self) -> None:
        """Ask every call to end, and let none start after."""
        with self.lock:
            self.ended = True
            for process in self.processes:
                if process.poll() is None:
                    process.terminate()


@dataclass(frozen=True, slots=True)
class Compiler:
    """Go, with a person watching."""

    go: Go
    console: Console
    running: Running

    def fetch(self, recipe: Recipe, binaries: Sequence[Binary]) -> int:
        """Download what the programs need; return the number of packages in their build (standard library included)."""
        self.console.say(recipe.family, "fetching modules")
        tags = ("-tags", ",".join(recipe.tags)) if recipe.tags else ()
        command = ("list", "-deps", *tags, *(b.package for b in binaries))
        lines = self._run(recipe, command, doing="fetched {} modules so far", counts="go: downloading")
        return sum(not line.startswith("go: ") for line in lines)

    def compile(self, recipe: Recipe, binaries: Sequence[Binary], *, into: Path, packages: int) -> None:
        """Compile and link the programs into a folder, under the names that Go gives them."""
        names = ", ".join(b.name for b in binaries)
        self.console.say(recipe.family, f"compiling {names}")
        # -v names each package as it is compiled; the count is all that a person needs of it.
        command = ("build", "-v", *recipe.flags, "-o", f"{into}/", *(b.package for b in binaries))
        self._run(recipe, command, doing=f"compiled {{}} of at most {packages} packages", counts="")

    def module_folder(self, recipe: Recipe) -> Path:
        """Return the folder in Go's module cache where the family's main module is unpacked."""
        return Path(self.go.ask("list", "-m", "-f", "{{.Dir}}", recipe.module, folder=recipe.folder))

    def _run(self, recipe: Recipe, arguments: Sequence[str], *, doing: str, counts: str) -> list[str]:
        """Run Go, say every HEARTBEAT seconds how many lines that start with `counts` came; return its lines."""
        process = self.running.start([str(self.go.program), *arguments], folder=recipe.folder, environ=self.go.environ)
        lines: list[str] = []

        def read() -> None:
            assert process.stdout is not None
            with process.stdout:
                lines.extend(line.rstrip("\n") for line in process.stdout)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        while True:
            try:
                code = process.wait(timeout=HEARTBEAT)
                break
            except subprocess.TimeoutExpired:
                seen = sum(line.startswith(counts) for line in lines.copy())
                self.console.say(recipe.family, doing.format(seen))
        reader.join()
        if code:
            raise explain(recipe, arguments[0], lines)
        return lines


def explain(recipe: Recipe, verb: str, lines: Sequence[str]) -> BedError:
    """Turn Go's complaint into an error that names the module, the cause and the remedy."""
    text = "\n".join(lines)
    module = next((f"{m[1]}@{m[2]}" for m in _MODULE.finditer(text)), recipe.module)
    if "no space left on device" in text:
        return BedError(
            f"no disk space left while building {recipe.family}",
            remedy="free some space, or point LEASEHOLD_CACHE, GOCACHE, GOMODCACHE and TMPDIR to a larger disk",
        )
    if _NETWORK.search(text):
        cause = next(line for line in lines if _NETWORK.search(line))
        return BedError(
            f"could not download {module} (for {recipe.family}): {cause.strip()}",
            remedy="let this machine reach the module proxy (`go env GOPROXY`) and run again; what is done is kept",
        )
    if _CHECKSUM.search(text):
        return BedError(
            f"{recipe.folder.name}/go.mod and go.sum do not agree with {module}",
            remedy="restore both files from version control; see `testbed/recipes/README.md` for how they are made",
        )
    tail = "\n    ".join(collections.deque((line for line in lines if line.strip()), maxlen=12))
    return BedError(f"go {verb} failed for {recipe.family}:\n    {tail}")
