"""`python -m leasehold` is the command line."""

import subprocess
import sys

from leasehold import __version__


def test_module_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "leasehold", "version"], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == f"leasehold {__version__}\n"
