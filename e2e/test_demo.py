"""The demo's steps as a test: on the local test bed always, on kind where Docker is there."""

import shutil
import subprocess
from pathlib import Path

import pytest

from e2e.demo import play
from e2e.narration import Narrator
from e2e.stage import Stage
from testbed import node, toolchain
from testbed.processes import Yard


def docker_missing() -> str:
    """Return why kind cannot be used here, "" where it can."""
    if shutil.which("docker") is None or shutil.which("kind") is None:
        return "kind needs docker and kind on PATH"
    done = subprocess.run(["docker", "info"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "kind needs a running Docker daemon"


@pytest.mark.live
@pytest.mark.timeout(300)
def test_every_step_of_the_demo_is_seen_to_be_true(tmp_path: Path) -> None:
    if reason := toolchain.why_not():
        pytest.skip(f"no test bed here: {reason}")
    with Yard(tmp_path / "demo") as yard:
        stage = Stage(yard, Narrator())
        assert play(stage) == 0, stage.log_tail()[0]


@pytest.mark.live
@pytest.mark.node
@pytest.mark.timeout(400)
def test_every_step_of_the_demo_is_seen_to_be_true_on_a_real_node(tmp_path: Path) -> None:
    if reason := node.why_not():
        pytest.skip(f"no real node here: {reason}")
    with Yard(tmp_path / "demo") as yard:
        stage = Stage(yard, Narrator(), node="real")
        assert play(stage) == 0, stage.log_tail()[0]


@pytest.mark.live
def test_the_demo_on_kind() -> None:
    if reason := docker_missing():
        pytest.skip(reason)
    pytest.skip("the kind driver is not written yet: see docs/roadmap.md")
