"""Waits for the death of the process that started it, then ends what that process left running.

Its standard input is a pipe whose other end only the starter holds, so the end of input means that the starter is
gone, however it went. After an orderly end the roster is empty and there is nothing to do. A warden never starts,
restarts or judges a server.
"""

import sys
from pathlib import Path

from testbed import roster


def main() -> None:
    """Wait for the end of input, then end the servers of the folder named on the command line."""
    folder = Path(sys.argv[1])
    while sys.stdin.buffer.read(4096):
        pass
    roster.end_all(folder)


if __name__ == "__main__":
    main()
