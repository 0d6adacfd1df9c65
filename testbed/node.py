"""A real node: kubelet and containerd, in namespaces of their own beside the test bed's control plane.

For the few things that kwok cannot show: what a process sees of its environment and volumes, crash loops, projected
tokens, a chart's pods. Needs root and Debian's containerd, runc and CNI plugins; `why_not` tells what is missing. The
servers stay on the machine's loopback; `gateway` carries between there and the pods' network.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed import binaries, images
from testbed.capsule import NODE_ADDRESS, SERVICE_ADDRESS, Capsule, hierarchies
from testbed.certificates import write_private
from testbed.controlplane import ControlPlane
from testbed.errors import BedError
from testbed.nodeconfig import CNI_FOLDERS, compose_cni, compose_containerd, compose_kubelet
from testbed.pods import Scheduler
from testbed.processes import Yard

# The API server dials a node's host name before its addresses: with this one, logs and exec work without a flag.
NAME = "localhost"
TAINT = "testbed.leasehold.dev/real-node"
PACKAGES = "apt-get install containerd runc containernetworking-plugins busybox-static iproute2"
_PROGRAMS = ("containerd", "ctr", "runc", "containerd-shim-runc-v2", "ip", "nsenter", "unshare", "mount")
_ROOT = Path(__file__).resolve().parent.parent


def why_not() -> str | None:
    """Return why no real node can run on this machine, or None when it can."""
    if os.geteuid() != 0:
        return "a real node needs root (namespaces, mounts, control groups)"
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if not any((folder / "bridge").exists() for folder in CNI_FOLDERS):
        missing.append("CNI plugins")
    if missing:
        return f"a real node needs {', '.join(missing)} ({PACKAGES})"
    try:
        images.locate_busybox()
    except BedError as error:
        return f"{error.problem} ({PACKAGES})"
    if not hierarchies() or not all(os.access(place, os.W_OK) for place in hierarchies()):
        return "a real node needs control groups that root may write (a container without --privileged has none)"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--propagation=private", "--pid", "--fork", "--mount-proc", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"this root may not make namespaces: {tried.stderr.strip()}" if tried.returncode else None


class Node:
    """One node of a control plane. Pods and their data survive `restart`, as on a machine that was switched off.

    `reach` are ports of the machine's 127.0.0.1 (Vault, PostgreSQL) that pods find at ADDRESS under the same number.
    A `tainted` node takes only pods that ask for it (see `place`), so that it can stand beside kwok's.
    """

    ADDRESS = NODE_ADDRESS

    def __init__(
        self,
        yard: Yard,
        control_plane: ControlPlane,
        scheduler: Scheduler,
        *,
        reach: Sequence[int] = (),
        tainted: bool = False,
    ) -> None:
        self.folder = yard.folder / "node"
        self.folder.mkdir(exist_ok=True, mode=0o700)
        self.scheduler = scheduler
        self._yard = yard
        self._control_plane = control_plane
        self._reach = tuple(reach)
        self._tainted = tainted
        self._port = yard.port()
        self._sockets = yard.scratch()  # a path of a socket has at most 108 bytes
        self._capsule = Capsule(yard, self.folder)
        self.gateway = yard.process("node-gateway")
        self.containerd = yard.process("containerd", patience=3.0)
        self.kubelet = yard.process("kubelet", patience=3.0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start what does not run and wait until the node is Ready. Raises BedError when `why_not` has a reason."""
        if not self._capsule.server.alive:
            if reason := why_not():
                raise BedError(reason)
            self._capsule.start()
            self._start_gateway()
            self._start_containerd()
        self.scheduler.start()
        if not self.kubelet.alive:
            self._start_kubelet()
            self._set_taints()

    def stop(self) -> None:
        """End the kubelet, containerd, every pod, and the node's network."""
        for server in (self.kubelet, self.containerd, self.gateway):
            server.stop()
        self._capsule.stop()

    def restart(self) -> None:
        """Switch the node off and on."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let the kubelet hang; pods go on."""
        self.kubelet.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self.kubelet.resume()

    def load(self, archive: Path) -> None:
        """Import an image archive. Pods name it with imagePullPolicy IfNotPresent or Never."""
        self._ctr("images", "import", str(archive))

    @staticmethod
    def place(pod: dict[str, Any]) -> dict[str, Any]:
        """Return a pod's spec with what brings it to this node: the node's name as selector, and its toleration."""
        toleration = {"key": TAINT, "operator": "Exists"}
        selector = {"kubernetes.io/hostname": NAME}
        return {**pod, "nodeSelector": selector, "tolerations": [*pod.get("tolerations", ()), toleration]}

    def _start_gateway(self) -> None:
        api = int(self._control_plane.url.rpartition(":")[2])
        ready = self.folder / "gateway-ready"
        ready.unlink(missing_ok=True)
        inward: list[tuple[str, int, int]] = [(SERVICE_ADDRESS, 443, api)]
        for port in (api, *self._reach):
            inward += [("127.0.0.1", port, port), (NODE_ADDRESS, port, port)]
        settings = {
            "pid": self._capsule.pid,
            "inward": inward,
            "outward": [self._port.number],
            "dns": NODE_ADDRESS,
            "names": {
                "kubernetes.default.svc.cluster.local": SERVICE_ADDRESS,
                "testbed.default.svc.cluster.local": NODE_ADDRESS,
            },
            "ready": str(ready),
        }
        place = write_private(self.folder / "gateway.json", json.dumps(settings))
        self.gateway.start([sys.executable, "-m", "testbed.gateway", place], environ={"PYTHONPATH": str(_ROOT)})
        self.gateway.wait_until(ready.exists, "carrying")

    def _start_containerd(self) -> None:
        cni = self.folder / "cni"
        cni.mkdir(exist_ok=True)
        (cni / "10-pods.conflist").write_text(compose_cni(self.folder / "addresses"), encoding="utf-8")
        settings = self.folder / "containerd.toml"
        settings.write_text(compose_containerd(self.folder, socket=self._socket), encoding="utf-8")
        self.containerd.start(self._capsule.enter("containerd", f"--config={settings}"))
        self.containerd.wait_until(self._answers, "answering")
        if images.BUSYBOX not in self._ctr("images", "ls", "-q"):
            self.load(images.write_busybox(self.folder / "busybox.tar"))

    def _start_kubelet(self) -> None:
        settings = self.folder / "kubelet.json"
        authority = write_private(self.folder / "ca.crt", self._control_plane.ca_pem)
        text = compose_kubelet(
            self.folder, socket=self._socket, port=self._port.number, cgroup=self._capsule.cgroup, authority=authority
        )
        settings.write_text(text, encoding="utf-8")
        command = (
            binaries.find("kubelet"),
            f"--config={settings}",
            f"--kubeconfig={self._control_plane.kubeconfig()}",
            f"--hostname-override={NAME}",
            f"--node-ip={NODE_ADDRESS}",
            f"--root-dir={self.folder / 'kubelet'}",
            f"--cert-dir={self.folder / 'pki'}",
        )
        # A node that was switched off is still called Ready; its Lease tells when the new kubelet has spoken. A new
        # node is Ready some seconds before it has a Lease.
        before = self._renewal()
        self.kubelet.start(self._capsule.enter(*command))
        self.kubelet.wait_until(
            lambda: self._is_ready() and (not before or self._renewal() != before), "reporting its node Ready"
        )

    @property
    def _socket(self) -> Path:
        return self._sockets / "containerd.sock"

    def _answers(self) -> bool:
        command = ["ctr", f"--address={self._socket}", "version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _ctr(self, *arguments: str) -> str:
        command = ["ctr", f"--address={self._socket}", "--namespace=k8s.io", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BedError(f"ctr {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout

    def _is_ready(self) -> bool:
        conditions = self._facts("v1/nodes").get("status", {}).get("conditions", [])
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def _renewal(self) -> str:
        """When the kubelet last renewed the node's Lease; empty when it never did."""
        lease = self._facts("coordination.k8s.io/v1/namespaces/kube-node-lease/leases")
        return str(lease.get("spec", {}).get("renewTime", ""))

    def _set_taints(self) -> None:
        """Leave the node with our own taint or none.

        Admission makes a new node not-ready, and the controller that would lift that, node-lifecycle, does not run.
        """
        taints = [{"key": TAINT, "effect": "NoSchedule"}] if self._tainted else None
        patch = json.dumps({"spec": {"taints": taints}})
        self._control_plane.kubectl.run("patch", "node", NAME, "--type=merge", f"--patch={patch}")

    def _facts(self, collection: str) -> dict[str, Any]:
        """Return the object of a collection that is named after the node; empty when there is none."""
        group = "api" if collection.startswith("v1/") else "apis"
        items = self._control_plane.api("GET", f"/{group}/{collection}")["items"]
        return next((item for item in items if item["metadata"]["name"] == NAME), {})
