"""The demo: the whole main job on real servers, told with real times. Exit code 0 only if each step was seen true.

usage: python -m e2e.demo [--keep] [--node kwok|real]
"""

from __future__ import annotations

import argparse
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
    if given.node == "real" and (reason := node.why_not()):
        narrator.say(f"no real node here: {reason}")
        return 2
    build.build(Console(), on_demand=("kubelet",) if given.node == "real" else ())
    folder = Path(tempfile.mkdtemp(prefix="leasehold-demo-"))
    yard = Yard(folder, attached=not given.keep)
    try:
        stage = Stage(yard, narrator, node=given.node)
        code = play(stage)
        if given.keep:
            farewell(stage)
    except KeyboardInterrupt:
        narrator.say("\ninterrupted; everything is stopped")
        code = 130
    finally:
        if given.keep:
            yard.detach()
        else:
            yard.end()
    return code


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
