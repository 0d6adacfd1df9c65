"""Helm, as the test bed built it: only the program is needed, no cluster."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import binaries
from testbed.errors import BedError

CHART = Path(__file__).resolve().parents[2] / "charts" / "leasehold"
Object = dict[str, Any]
Helm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., list[Object]]


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Run `helm template` with values and further arguments; the caller judges how it ended."""
    try:
        program = binaries.find("helm")
    except BedError as error:
        pytest.skip(str(error))

    def run(
        values: Object | None = None, *arguments: str, release: str = "leasehold"
    ) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [
            program,
            "template",
            release,
            CHART,
            "--namespace=leasehold",
            "--kube-version=1.36.3",
        ]
        return subprocess.run(
            [*command, "--values=-", *arguments],
            input=yaml.safe_dump(values or {}),
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """Return the objects that the chart makes of some values; what Helm refuses fails the test."""

    def run(values: Object | None = None, *arguments: str) -> list[Object]:
        done = helm(values, *arguments)
        assert not done.returncode, done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    return run
