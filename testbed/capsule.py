"""Namespaces of a node's own: processes, mounts and network, and a control group, all of which end together.

The capsule is a process that does nothing but be the first of its process namespace: when it is killed, the kernel
kills everything inside, whoever started it (containerd's shims belong to nobody else), and with the last process the
mounts and the network go too. Only the control groups must be removed afterwards, which the yard does.
"""

import contextlib
import hashlib
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

from testbed import roster
from testbed.processes import Process, Yard

# The address of the API server's Service, and the node's own: the kubelet refuses 127/8 as a node's address.
SERVICE_ADDRESS = "10.0.0.1"
NODE_ADDRESS = "10.77.0.1"
# What the kubelet insists on changing: plain files lie over them inside, so that the machine's stay as they are.
_SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
# Places that the kubelet, containerd and CNI plugins use whatever they are told; inside, each is a folder of ours.
_FIXED_PLACES = ("/var/log/containers", "/var/lib/kubelet", "/var/lib/cni", "/run/containerd", "/run/netns")


class Capsule:
    """The namespaces of one node. Its folder holds what lies over the machine's own inside."""

    def __init__(self, yard: Yard, folder: Path) -> None:
        self.folder = folder
        self.cgroup = f"/leasehold-{hashlib.sha256(str(folder).encode()).hexdigest()[:10]}"
        self._yard = yard
        self._ready = folder / "capsule-ready"
        # Nothing inside needs a farewell, and the first process of a namespace ignores every other signal.
        self.server: Process = yard.process("node-capsule", ends_by=signal.SIGKILL)

    @property
    def pid(self) -> int:
        """The id, on the machine, of the first process inside."""
        return roster.descendants(self.server.pid)[0].pid

    def start(self) -> None:
        """Make the namespaces and the control group."""
        self._make_cgroups()
        self._ready.unlink(missing_ok=True)
        namespaces = ("--net", "--mount", "--propagation=private", "--pid", "--kill-child=SIGKILL", "--mount-proc")
        self.server.start(["unshare", *namespaces, "sh", "-euc", self._script()])
        self.server.wait_until(self._ready.exists, "made")

    def stop(self) -> None:
        """End everything inside."""
        self.server.stop()

    def enter(self, *command: str | Path) -> list[str | Path]:
        """Return the command that runs `command` inside."""
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", "--", *command]

    def _script(self) -> str:
        """What the first process does: lay folders and files over the machine's, give the network addresses, wait."""
        lines = ["mount --make-rshared /"]
        for name in _SYSCTLS:
            original = Path("/proc/sys") / name
            if original.exists():
                cover = self.folder / "sys" / name.replace("/", ".")
                cover.parent.mkdir(exist_ok=True)
                cover.write_text(original.read_text(encoding="ascii"), encoding="ascii")
                lines.append(_bind(cover, original))
        for name in _FIXED_PLACES:
            place = Path(name)
            cover = self.folder / "covers" / name.lstrip("/").replace("/", ".")
            cover.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                place.mkdir(parents=True)
            lines.append(_bind(cover, place))
        lines.append("ip link set lo up")
        lines += [f"ip address add {address}/32 dev lo" for address in (SERVICE_ADDRESS, NODE_ADDRESS)]
        lines.append(f"touch {shlex.quote(str(self._ready))}")
        # `wait` also reaps the orphans that land at a namespace's first process.
        lines.append("while :; do sleep 1000000 & wait; done")
        return "\n".join(lines)

    def _make_cgroups(self) -> None:
        """Make the node's control group in every hierarchy: two kubelets under one root end each other's pods."""
        for hierarchy in hierarchies():
            group = hierarchy / self.cgroup.lstrip("/")
            group.mkdir(exist_ok=True)
            self._yard.adopt(group)
            # In a version 1 cpuset, a new group has no processors until it is given some.
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (group / name).exists() and (hierarchy / name).exists():
                    (group / name).write_text((hierarchy / name).read_text(encoding="ascii"), encoding="ascii")


def hierarchies(mounts: Path = Path("/proc/mounts")) -> Sequence[Path]:
    """Return where control groups are mounted: each version 1 hierarchy and the unified one (proc(5), mounts)."""
    lines = (line.split() for line in mounts.read_text(encoding="utf-8").splitlines())
    return sorted(Path(fields[1]) for fields in lines if fields[2] in ("cgroup", "cgroup2"))


def _bind(source: Path, target: Path) -> str:
    return f"mount --bind {shlex.quote(str(source))} {shlex.quote(str(target))}"
