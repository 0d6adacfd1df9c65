"""A build does what is missing, and a program is in its place or it is not."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from testbed import binaries, build, recipes, toolchain
from testbed.compiler import Compiler, Running
from testbed.errors import BedError
from testbed.progress import Console
from testbed.recipes import Binary, Recipe


@dataclass
class PretendedGo:
    """Stands for Compiler: writes a file per program, remembers the order, fails where it is told to."""

    module: Path
    fails_at: str = ""
    console: Console = field(default_factory=lambda: Console(io.StringIO()))
    running: Running = field(default_factory=Running)
    compiled: list[str] = field(default_factory=list)

    def fetch(self, recipe: Recipe, binaries: Sequence[Binary]) -> int:
        if self.fails_at == f"fetch {recipe.family}":
            raise BedError("no network")
        return len(binaries)

    def compile(self, recipe: Recipe, binaries: Sequence[Binary], *, into: Path, packages: int) -> None:
        for binary in binaries:
            (into / binary.go_name).write_text(binary.place)
            if self.fails_at == binary.name:
                raise BedError(f"{binary.name} does not compile")
            self.compiled.append(binary.name)

    def module_folder(self, recipe: Recipe) -> Path:
        return self.module


Build = Callable[[PretendedGo], None]


@pytest.fixture
def go(tmp_path: Path) -> PretendedGo:
    stages = tmp_path / "module" / "kustomize" / "stage" / "pod"
    stages.mkdir(parents=True)
    (stages / "pod-ready.yaml").write_text("kind: Stage\n")
    (stages / "pod-ready.yaml").chmod(0o444)
    stages.chmod(0o555)
    return PretendedGo(tmp_path / "module")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Run a build with a pretended Go, in a cache of the test's own."""
    monkeypatch.setenv("LEASEHOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(toolchain, "find", lambda root: toolchain.Go(Path("/none/go"), (1, 26, 0)))
    monkeypatch.setattr(build, "_require_space", lambda jobs, root, go: None)

    def run(go: PretendedGo) -> None:
        def make(*arguments: object) -> PretendedGo:
            return go

        monkeypatch.setattr(build, "Compiler", make)
        build.build(go.console)

    return run


ALL = {b.name for recipe in recipes.ALL for b in recipe.binaries if not b.on_demand}


def test_the_pretended_go_offers_what_the_real_one_does() -> None:
    offered = {name for name in vars(Compiler) if not name.startswith("_")} - {"go"}

    assert offered <= set(dir(PretendedGo(Path("/none"))))


def test_a_first_build_makes_everything_but_what_is_on_demand(go: PretendedGo, run: Build) -> None:
    run(go)

    assert set(go.compiled) == ALL
    assert "kubelet" not in go.compiled
    assert binaries.find("kubernetes").read_text() == "plugins/kubernetes"
    assert build.plan() == []
    assert [b.name for job in build.plan(on_demand=("kubelet",)) for b in job.missing] == ["kubelet"]


def test_a_second_build_makes_nothing(go: PretendedGo, run: Build) -> None:
    run(go)
    go.compiled.clear()

    run(go)

    assert go.compiled == []


def test_a_lost_program_is_made_again_alone(go: PretendedGo, run: Build) -> None:
    run(go)
    go.compiled.clear()
    binaries.find("kubectl").unlink()

    run(go)

    assert go.compiled == ["kubectl"]


def test_a_program_that_fails_is_not_in_its_place_and_the_next_build_goes_on(go: PretendedGo, run: Build) -> None:
    go.fails_at = "vault"
    with pytest.raises(BedError, match="vault does not compile"):
        run(go)
    assert "etcd" in go.compiled
    with pytest.raises(BedError, match="vault is not built"):
        binaries.find("vault")
    assert go.running.ended

    go.fails_at, go.compiled = "", []
    run(go)

    assert "etcd" not in go.compiled
    assert binaries.find("vault").exists()


def test_a_failed_download_ends_the_build(go: PretendedGo, run: Build) -> None:
    go.fails_at = "fetch vault"

    with pytest.raises(BedError, match="no network"):
        run(go)


def test_kept_folders_can_be_read_and_removed(go: PretendedGo, run: Build) -> None:
    run(go)

    kept = binaries.find_kept(recipes.KWOK, "kustomize/stage") / "pod" / "pod-ready.yaml"

    assert kept.read_text() == "kind: Stage\n"
    assert kept.parent.stat().st_mode & 0o200
    assert kept.stat().st_mode & 0o200


def test_nothing_half_done_stays_in_the_cache(go: PretendedGo, run: Build, tmp_path: Path) -> None:
    go.fails_at = "kube-apiserver"
    with pytest.raises(BedError):
        run(go)

    assert {path.name for path in (tmp_path / "cache").iterdir()} <= {"bin", "build.lock"}


def test_an_unknown_program_is_told() -> None:
    with pytest.raises(BedError, match="no recipe makes a program called kubeadm"):
        binaries.find("kubeadm")
