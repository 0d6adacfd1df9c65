"""The configuration of a real node's parts: containerd 1.6 or newer, CNI, kubelet 1.36. Text only; runs nothing."""

import json
import subprocess
from pathlib import Path

from testbed.capsule import NODE_ADDRESS
from testbed.images import BUSYBOX

CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
POD_NETWORK = "10.244.0.0/24"
# Snapshotters and tracers that this machine does not need; containerd would try each and complain.
_UNUSED = ("snapshotter.v1.btrfs", "snapshotter.v1.zfs", "snapshotter.v1.aufs", "snapshotter.v1.devmapper")


def compose_cni(addresses: Path) -> str:
    """Return a CNI configuration: pods on a bridge, their addresses noted in a folder, no way out and no iptables."""
    pool = {"type": "host-local", "dataDir": str(addresses), "ranges": [[{"subnet": POD_NETWORK}]]}
    route = {"routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "hairpinMode": True, "ipam": {**pool, **route}}
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]})


def compose_containerd(folder: Path, *, socket: Path) -> str:
    """Return containerd's configuration (version 2), with all its state in `folder`."""
    plugins = next(place for place in CNI_FOLDERS if (place / "bridge").exists())
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    unused = ", ".join(f'"io.containerd.{name}"' for name in _UNUSED)
    return f"""version = 2
root = "{folder / "containerd"}"
state = "{folder / "containerd-state"}"
disabled_plugins = [{unused}]

[grpc]
address = "{socket}"

[{cri}]
sandbox_image = "{BUSYBOX}"
stream_server_address = "127.0.0.1"
restrict_oom_score_adj = true

[{cri}.containerd]
snapshotter = "{_choose_snapshotter(folder)}"
default_runtime_name = "runc"

[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false

[{cri}.cni]
bin_dir = "{plugins}"
conf_dir = "{folder / "cni"}"
"""


def compose_kubelet(folder: Path, *, socket: Path, port: int, cgroup: str, authority: Path) -> str:
    """Return a KubeletConfiguration (kubelet.config.k8s.io/v1beta1).

    It evicts nothing, leaves iptables and the machine's swap alone, lets anybody in (it listens on the loopback of
    its own network), and looks at its pods every second: `syncFrequency` decides when a changed Secret reaches a
    volume, which takes more than a minute by default.
    """
    never = dict.fromkeys(
        ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree"), "0%"
    )
    resolver = folder / "resolv.conf"
    resolver.write_text("", encoding="ascii")
    settings = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": port,
        "readOnlyPort": 0,
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": True},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        "localStorageCapacityIsolation": False,
        "evictionHard": never,
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": str(folder / "pod-logs"),
        "resolvConf": str(resolver),
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": "cluster.local",
        "syncFrequency": "1s",
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "featureGates": {"KubeletCrashLoopBackOffMax": True},
        "crashLoopBackOff": {"maxContainerRestartPeriod": "2s"},
    }
    return json.dumps(settings, indent=1)


def _choose_snapshotter(folder: Path) -> str:
    """Return `overlayfs`, or `native` where the folder lies on an overlay itself, as in a container."""
    command = ["stat", "--file-system", "--format=%T", str(folder)]
    kind = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return "native" if kind == "overlayfs" else "overlayfs"
