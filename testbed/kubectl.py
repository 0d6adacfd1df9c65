"""Runs the kubectl that the test bed built, never the machine's: what a user would type, and its output."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed import binaries
from testbed.errors import BedError


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl as the user of one kubeconfig."""

    kubeconfig: Path

    def run(self, *arguments: str, text: str = "") -> str:
        """Run `kubectl ARGUMENTS` with `text` as its input; return its output. Raises BedError when it fails."""
        command = [str(binaries.find("kubectl")), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BedError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """Run `kubectl get ARGUMENTS -o json` and return the document."""
        return json.loads(self.run("get", *arguments, "-o", "json"))

    def apply(self, *documents: object, namespace: str = "default") -> str:
        """Apply objects given as plain data (server-side, so that large CRDs pass too)."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        options = ("--server-side", "--force-conflicts", "--field-manager=testbed", f"--namespace={namespace}")
        return self.run("apply", *options, "-f", "-", text=json.dumps(items))

    def apply_files(self, *places: Path, namespace: str = "default") -> str:
        """Apply manifest files or folders of them."""
        options = ("--server-side", "--force-conflicts", "--field-manager=testbed", f"--namespace={namespace}")
        return self.run("apply", *options, *(f"--filename={place}" for place in places))
