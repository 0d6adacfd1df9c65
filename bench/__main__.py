"""usage: python -m bench cold [--objects N] [--namespaces N] [--idle SECONDS] [--json FILE]."""

import argparse
import json
from pathlib import Path

from bench import cold


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Load scenarios beside their floor.")
    parser.add_argument("scenario", choices=["cold"], nargs="?", default="cold")
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--namespaces", type=int, default=10)
    parser.add_argument("--idle", type=float, default=20.0, help="seconds of the idle and restart windows")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args()
    report = cold.run(objects=given.objects, namespaces=given.namespaces, idle=given.idle)
    print(report.show())
    if given.json:
        given.json.write_text(json.dumps({"objects": report.objects, **report.rows}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
