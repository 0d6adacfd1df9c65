"""A run folder is only ever our own."""

import os
import subprocess
from pathlib import Path

import pytest

from testbed import bed, roster
from testbed.bed import Addresses
from testbed.errors import BedError
from testbed.progress import Console
from testbed.roster import Entry


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear")

    with pytest.raises(BedError, match="not a test bed's"):
        bed.clear(tmp_path)

    assert (tmp_path / "thesis.tex").exists()


def test_what_an_earlier_run_left_goes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "logs").mkdir(parents=True)

    bed.clear(run)

    assert not run.exists()
    bed.clear(run)


def test_two_in_one_folder_are_refused(tmp_path: Path) -> None:
    me = roster.see(os.getpid())
    roster.write(tmp_path, [Entry("etcd", me.pid, me.born)])

    with pytest.raises(BedError, match=r"(?s)runs in .* already \(etcd\).*down"):
        bed.up(tmp_path, node="none", console=Console())


def test_addresses_are_shell_lines() -> None:
    addresses = Addresses("/run/my config", "http://127.0.0.1:1", "token", "postgresql://u:p@127.0.0.1:2/d")

    said = subprocess.run(
        ["sh", "-c", f'{addresses.exports()}; echo "$KUBECONFIG|$VAULT_ADDR|$VAULT_TOKEN|$DATABASE_URL"'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert said == "/run/my config|http://127.0.0.1:1|token|postgresql://u:p@127.0.0.1:2/d\n"


def test_nothing_runs_in_an_empty_folder(tmp_path: Path) -> None:
    assert bed.read(tmp_path) is None
    assert bed.down(tmp_path) == []
