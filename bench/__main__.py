"""usage: python -m bench [cold] [--objects N] [--namespaces N] [--idle SECONDS] [--runs N] [--json FILE].

Prints a table, then all numbers as one line of JSON. Ends with 1 where a promise about requests is broken; how long
anything took is shown and never judged, since that depends on who else uses the machine.
"""

import argparse
import sys
from pathlib import Path

from bench import cold, report
from testbed.errors import BedError


def main() -> None:
    """Parse, run, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Load scenarios beside their floor.")
    parser.add_argument("scenario", choices=["cold"], nargs="?", default="cold")
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--namespaces", type=int, default=10)
    parser.add_argument("--idle", type=float, default=20.0, help="seconds of the idle and restart windows")
    parser.add_argument("--runs", type=int, default=1, help="repeat on fresh servers; the table shows the spread")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    given = parser.parse_args()
    if given.objects < given.namespaces or given.namespaces < 1 or given.runs < 1:
        parser.error("there must be at least one namespace, one object in each, and one run")
    try:
        runs = [
            cold.run(objects=given.objects, namespaces=given.namespaces, idle=given.idle) for _ in range(given.runs)
        ]
    except (BedError, cold.NotDone) as error:
        sys.exit(f"bench: {error}")
    numbers = report.as_json(given.objects, runs)
    print(report.table(f"{given.objects} ExternalSecrets over Vault KV v2, Kubernetes auth", runs))
    print(f"\n{numbers}")
    if given.json:
        given.json.write_text(numbers + "\n", encoding="utf-8")
    promises = cold.promises(given.objects, given.namespaces)
    if problems := [problem for rows in runs for problem in report.broken(rows, promises)]:
        sys.exit("bench: broken promises\n  " + "\n  ".join(problems))


if __name__ == "__main__":
    main()
