"""PostgreSQL may live where its account can go."""

import subprocess
from pathlib import Path

from testbed import postgres


def test_a_closed_folder_above_closes_what_is_below(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    below = closed / "below"
    below.mkdir(parents=True)
    below.chmod(0o755)
    closed.chmod(0o700)

    assert not postgres.is_open(below)
    assert postgres.is_open(Path("/usr/bin"))


def test_the_wheel_brings_the_programs() -> None:
    programs = postgres.locate_wheel() / "pginstall18" / "bin"

    assert {"initdb", "postgres", "psql", "pg_isready"} <= {path.name for path in programs.iterdir()}


def test_a_copy_of_the_programs_runs_by_itself(tmp_path: Path) -> None:
    install = postgres.copy_programs(postgres.locate_wheel() / "pginstall18", tmp_path)

    done = subprocess.run([install / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True)

    assert install.is_relative_to(tmp_path)
    assert done.stdout.startswith("postgres (PostgreSQL) 18")
