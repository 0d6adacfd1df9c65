"""The command line: `python -m testbed build|up|down|status`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from testbed import bed, binaries, build, node, roster
from testbed.errors import BedError
from testbed.progress import Console

RUN = Path(__file__).resolve().parent.parent / ".testbed" / "run"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 on failure, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    console = Console()
    try:
        code: int = options.run(options, console)
    except BedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("testbed: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m testbed", description="Real servers on loopback, for tests and the demo."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("build", help="build what is missing into the cache (LEASEHOLD_CACHE)")
    one.add_argument("--node", choices=("kwok", "real"), default="kwok", help="real: build the kubelet too")
    one.set_defaults(run=_build)
    one = commands.add_parser("up", help="start everything and print its addresses as shell exports")
    one.add_argument("--node", choices=("kwok", "real", "none"), default="kwok", help="what runs pods")
    one.set_defaults(run=_up)
    _add_folder(one)
    one = commands.add_parser("down", help="end everything that `up` started")
    one.set_defaults(run=_down)
    _add_folder(one)
    one = commands.add_parser("status", help="tell what is built and what runs")
    one.set_defaults(run=_status)
    _add_folder(one)
    return parser


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, default=RUN, help="the run's folder (default: .testbed/run)")


def _build(options: argparse.Namespace, console: Console) -> int:
    build.build(console, on_demand=("kubelet",) if options.node == "real" else ())
    return 0


def _up(options: argparse.Namespace, console: Console) -> int:
    if options.node == "real" and (reason := node.why_not()):
        raise BedError(reason, remedy="use --node kwok, which needs none of this")
    build.build(console, on_demand=("kubelet",) if options.node == "real" else ())
    print(bed.up(options.dir.absolute(), node=options.node, console=console).exports())
    return 0


def _down(options: argparse.Namespace, console: Console) -> int:
    ended = bed.down(options.dir.absolute())
    console.say("down", f"ended {', '.join(ended)}" if ended else "nothing ran")
    return 0


def _status(options: argparse.Namespace, console: Console) -> int:
    """Tell what is built and what runs; 0 when all that was started is alive, 1 otherwise."""
    folder = options.dir.absolute()
    missing = [b.name for job in build.plan() for b in job.missing]
    console.say("built", f"missing: {', '.join(missing)}" if missing else f"everything ({binaries.root()})")
    entries = roster.read(folder)
    for entry in entries:
        console.say("runs" if entry.being.alive else "ENDED", f"{entry.name} (pid {entry.pid})")
    if not entries:
        console.say("runs", f"nothing in {folder}")
    if addresses := bed.read(folder):
        print(addresses.exports())
    return 0 if entries and all(entry.being.alive for entry in entries) else 1


if __name__ == "__main__":
    sys.exit(main())
