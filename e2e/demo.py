"""The demo: the whole main job on real servers, told with real times. Exit code 0 only if each step was seen true.

usage: python -m e2e.demo [--keep] [--node kwok|real]
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from e2e.narration import Failed, Narrator
from e2e.stage import NAMESPACE, Stage
from e2e.steps import STEPS, Story
from testbed import build, node
from testbed.errors import BedError
from testbed.processes import Yard
from testbed.progress import Console


def main(arguments: list[str] | None = None) -> int:
    """Run the demo and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m e2e.demo", description="Leasehold at work, on real servers.")
    parser.add_argument("--keep", action="store_true", help="leave everything running, and say how to use it")
    parser.add_argument("--node", choices=["kwok", "real"], default="kwok", help="what makes pods run")
    given = parser.parse_args(arguments)
    narrator = Narrator()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if given.node == "real" and (reason := node.why_not()):
            narrator.say(f"no real node here: {reason}")
            return 2
        build.build(Console(), on_demand=("kubelet",) if given.node == "real" else ())
        return _run(narrator, keep=given.keep, node_kind=given.node)
    except BedError as error:
        narrator.say(f"\nthe test bed: {error}")
        return 1
    except KeyboardInterrupt:
        narrator.say("\ninterrupted; everything is stopped")
        return 130


def _run(narrator: Narrator, *, keep: bool, node_kind: str) -> int:
    """Play in a folder of this run; only a story that ended well is kept running, and only a failure's logs stay."""
    folder = Path(tempfile.mkdtemp(prefix="leasehold-demo-"))
    # kubectl would keep its cache in the user's home, and take preferences from there.
    os.environ |= {"KUBECACHEDIR": str(folder / "kubectl"), "KUBERC": "off"}
    yard = Yard(folder, attached=not keep)
    code = 130
    try:
        stage = Stage(yard, narrator, node=node_kind)
        code = play(stage)
        if keep and code == 0:
            farewell(stage)
    finally:
        if keep and code == 0:
            yard.detach()
        else:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave servers behind
            yard.end()
            if code != 1:
                shutil.rmtree(folder, ignore_errors=True)
    return code


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def play(stage: Stage) -> int:
    """Set the stage, play every step, tell the outcome."""
    narrator = stage.narrator
    story = Story(stage)
    try:
        narrator.step("Real servers start, and the operator under its own ServiceAccount")
        stage.start()
        for step in STEPS:
            step(story)
    except Failed as error:
        narrator.failed(error, *stage.log_tail())
        return 1
    except BedError as error:
        narrator.failed(Failed("the servers work", str(error)), *stage.log_tail())
        return 1
    finally:
        if story.clients is not None:
            story.clients.stop()
    narrator.say(f"\n[bold green]All {len(STEPS)} steps were seen to be true, in {narrator.elapsed:.0f} s.[/]")
    return 0


def farewell(stage: Stage) -> None:
    """Say how to go on with what was left running."""
    say = stage.narrator.say
    kubeconfig = stage.plane.kubeconfig()
    say("\nEverything runs on. Use it:")
    say(f"  export KUBECONFIG={kubeconfig}")
    say(f"  export VAULT_ADDR={stage.vault.url} VAULT_TOKEN={stage.vault.root_token}")
    say(f"  database: postgresql://127.0.0.1:{stage.postgres.port}/postgres")
    say("Three commands to try:")
    say(f"  kubectl get es,secrets -n {NAMESPACE}")
    say(f"  kubectl describe es settings -n {NAMESPACE}")
    say("  vault kv put -mount=secret payments/settings feature=off greeting=hello")
    say(f"Stop it: python -m testbed down --dir {stage.yard.folder}")


if __name__ == "__main__":
    sys.exit(main())
