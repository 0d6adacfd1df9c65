"""Builds what is missing: plans, then fetches one family while another compiles, then moves each program into place.

A program is in its place or it is not: it is linked in a folder beside and renamed. So a build that was interrupted
goes on where it stopped, and what is found may be used.
"""

import concurrent.futures
import os
import shutil
import tempfile
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed import binaries, cache, recipes, toolchain
from testbed.compiler import Compiler, Running
from testbed.errors import BedError
from testbed.progress import Console, clock

# Measured on a cold build of everything.
MODULES_GIBIBYTES = 4.2
COMPILED_GIBIBYTES = 6.0
PROGRAMS_GIBIBYTES = 0.9
# What linking kube-apiserver or Vault takes at its peak, with some air.
LANE_GIBIBYTES = 6.0


@dataclass(frozen=True, slots=True)
class Job:
    """One family and those of its programs that are not built."""

    recipe: recipes.Recipe
    missing: tuple[recipes.Binary, ...]


def plan(*, on_demand: Collection[str] = ()) -> list[Job]:
    """Return what must be built, in order. `on_demand` names programs that are not built by default (kubelet)."""
    named = frozenset(on_demand)
    jobs = (Job(recipe, binaries.missing(recipe, names=named)) for recipe in recipes.ALL)
    return [job for job in jobs if job.missing]


def build(console: Console, *, on_demand: Collection[str] = ()) -> None:
    """Build all that is missing. Raises BedError: no Go, no network, no space, or Go's own complaint.

    A second call finds everything in place and returns at once; two at a time wait for each other.
    """
    root = cache.root()
    with cache.lock(root, on_busy=lambda pid: console.say("build", f"process {pid} is building; waiting for it")):
        jobs = plan(on_demand=on_demand)
        if not jobs:
            console.say("build", f"everything is built, in {root / 'bin'}")
            return
        names = ", ".join(b.name for job in jobs for b in job.missing)
        console.say("build", f"missing: {names}")
        go = toolchain.find(root)
        console.say("build", f"Go {'.'.join(map(str, go.release))} ({go.program})")
        _require_space(jobs, root, go)
        compiler = Compiler(go, console, Running())
        _work(jobs, compiler, root)
        console.say("build", f"done in {clock(console.elapsed)}, in {root / 'bin'}")


def lanes() -> int:
    """Return how many families may compile at once: one for four cores and for LANE_GIBIBYTES of memory.

    One compile keeps two cores busy by itself; more lanes only fill the pauses while a program is linked.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return max(1, min((os.cpu_count() or 1) // 4, int(memory / LANE_GIBIBYTES), 3))


def _require_space(jobs: Sequence[Job], root: Path, go: toolchain.Go) -> None:
    """Check the disk only before a build that starts from nothing: a resumed one needs an unknown rest."""
    if len(jobs) < len(recipes.ALL):
        return
    places = {root: PROGRAMS_GIBIBYTES}
    for variable, need in (("GOCACHE", COMPILED_GIBIBYTES), ("GOMODCACHE", MODULES_GIBIBYTES)):
        folder = Path(go.ask("env", variable, folder=recipes.HERE))
        if not folder.exists():
            places[folder] = need
    cache.require_space(places)


def _work(jobs: Sequence[Job], compiler: Compiler, root: Path) -> None:
    """Fetch the families one after another on one thread; compile each, once fetched, on one of `lanes()`."""
    with (
        concurrent.futures.ThreadPoolExecutor(1, "fetch") as fetcher,
        concurrent.futures.ThreadPoolExecutor(lanes(), "compile") as pool,
    ):
        fetched = [fetcher.submit(compiler.fetch, job.recipe, job.missing) for job in jobs]
        built = [pool.submit(_make, job, compiler, packages, root) for job, packages in zip(jobs, fetched, strict=True)]
        try:
            pending: list[concurrent.futures.Future[int]] = [*fetched, *built]
            for future in concurrent.futures.as_completed(pending):
                future.result()
        except BaseException:
            compiler.running.end()
            fetcher.shutdown(wait=False, cancel_futures=True)
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _make(job: Job, compiler: Compiler, packages: "concurrent.futures.Future[int]", root: Path) -> int:
    """Compile one job once its modules are there, move the programs into place, and return their number."""
    count = packages.result()
    final = binaries.folder(job.recipe)
    final.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=f"{job.recipe.family}-") as scratch:
        compiler.compile(job.recipe, job.missing, into=Path(scratch), packages=count)
        # What is kept goes first: a program in its place means that all it needs is there too.
        for part in job.recipe.keeps:
            _keep(compiler.module_folder(job.recipe) / part, final / "kept" / part)
        for binary in job.missing:
            place = final / binary.place
            place.parent.mkdir(parents=True, exist_ok=True)
            (Path(scratch) / binary.go_name).replace(place)
    compiler.console.say(job.recipe.family, f"built {', '.join(b.name for b in job.missing)}")
    return len(job.missing)


def _keep(source: Path, place: Path) -> None:
    if place.exists():
        return
    if not source.is_dir():
        raise BedError(f"{source} is not a folder of the module", remedy="run `go clean -modcache` and build again")
    part = place.with_name(place.name + f".{threading.get_ident()}.part")
    shutil.copytree(source, part)
    # Go keeps its module cache read-only; a copy that cannot be deleted would be a nuisance.
    for path in (part, *part.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    part.rename(place)
