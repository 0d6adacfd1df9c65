"""Pods that "run" without a node agent: kube-scheduler and kwok, with one pretended node.

Workloads roll out in under a second, and can be made slow or failing by annotations of the pod (see `stages/`).
What kwok cannot show: it never reads a Secret, runs no process, gives no logs. For that there is `node`.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed import binaries, recipes
from testbed.controlplane import ControlPlane
from testbed.errors import BedError
from testbed.processes import Process, Yard
from testbed.wire import Wire

NODE = "pretended"
OWN_STAGES = Path(__file__).resolve().parent / "stages"
# Of the stages in kwok's module: a node that is Ready and keeps its Lease; pods that run, complete and go, at once.
_STAGE_FOLDERS = ("node/fast", "node/heartbeat-with-lease", "pod/fast")
_MARK = "kwok.x-k8s.io/node"
_CAPACITY = {"cpu": "64", "memory": "256Gi", "pods": "2000"}


class Scheduler:
    """kube-scheduler for a control plane."""

    def __init__(self, yard: Yard, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        self._port = yard.port()
        self.server = yard.process("kube-scheduler")

    def start(self) -> None:
        """Start it, if it does not run, and wait until it is healthy."""
        if self.server.alive:
            return
        folder = self._control_plane.folder
        self.server.start(
            (
                binaries.find("kube-scheduler"),
                f"--kubeconfig={self._control_plane.kubeconfig()}",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
                f"--secure-port={self._port}",
                f"--tls-cert-file={folder / 'server.crt'}",
                f"--tls-private-key-file={folder / 'server.key'}",
                "--authentication-skip-lookup",
            )
        )
        there = Wire(f"https://127.0.0.1:{self._port}", ca_pem=self._control_plane.ca_pem)
        self.server.wait_until(lambda: there.is_up("/healthz"), "healthy")

    def stop(self) -> None:
        """Stop it."""
        self.server.stop()


class Kwok:
    """The scheduler, kwok and a Node object. `stages` are further Stage files, beside our own in `stages/`."""

    def __init__(self, yard: Yard, control_plane: ControlPlane, *, stages: Sequence[Path] = ()) -> None:
        self._control_plane = control_plane
        self._stages = tuple(stages)
        self._home = yard.folder / "kwok"
        self.scheduler = Scheduler(yard, control_plane)
        self.server: Process = yard.process("kwok")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start both and wait until the node is Ready and takes pods."""
        self.scheduler.start()
        if not self.server.alive:
            self._home.mkdir(exist_ok=True)
            command: tuple[str | Path, ...] = (
                binaries.find("kwok"),
                f"--kubeconfig={self._control_plane.kubeconfig()}",
                # Only nodes that say so: a real one may stand beside ours.
                f"--manage-nodes-with-annotation-selector={_MARK}=fake",
                "--node-ip=127.0.0.1",
                "--node-lease-duration-seconds=40",
                "--cidr=10.99.0.0/16",
                *(f"--config={stage}" for stage in self._all_stages()),
            )
            # HOME: kwok would read and keep things in the user's own.
            self.server.start(command, environ={"HOME": str(self._home)})
        self._ensure_node()
        self.server.wait_until(self._is_node_ready, "reporting its node Ready")

    def stop(self) -> None:
        """Stop both; pods stay as they are."""
        self.server.stop()
        self.scheduler.stop()

    def restart(self) -> None:
        """Stop and start both."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let new pods wait: they are scheduled and never become Ready."""
        self.server.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self.server.resume()

    def _all_stages(self) -> list[Path]:
        module = binaries.find_kept(recipes.KWOK, "kustomize/stage")
        found = [
            path
            for folder in _STAGE_FOLDERS
            for path in sorted((module / folder).glob("*.yaml"))
            if path.name != "kustomization.yaml"
        ]
        if not found:
            raise BedError(f"no stages below {module}", remedy="see _STAGE_FOLDERS in testbed/pods.py")
        return [*found, *sorted(OWN_STAGES.glob("*.yaml")), *self._stages]

    def _ensure_node(self) -> None:
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": NODE,
                "labels": {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "type": "kwok"},
                "annotations": {_MARK: "fake"},
            },
            "status": {"allocatable": _CAPACITY, "capacity": _CAPACITY},
        }
        kubectl = self._control_plane.kubectl
        if not kubectl.run("get", "node", NODE, "--ignore-not-found", "-o", "name"):
            self._control_plane.api("POST", "/api/v1/nodes", node)
            # Admission (TaintNodesByCondition) taints a new node not-ready; the controller that would lift the
            # taint, node-lifecycle, does not run here.
            self._control_plane.kubectl.run("taint", "node", NODE, "node.kubernetes.io/not-ready-")

    def _is_node_ready(self) -> bool:
        node = self._control_plane.api("GET", f"/api/v1/nodes/{NODE}")
        return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))
