"""A node's configuration keeps to its own folder and its own control group."""

import json
import tomllib
from pathlib import Path

import pytest

from testbed import nodeconfig


def test_containerd_keeps_to_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "bridge").touch()
    monkeypatch.setattr(nodeconfig, "CNI_FOLDERS", (tmp_path / "none", tmp_path / "plugins"))

    settings = tomllib.loads(nodeconfig.compose_containerd(tmp_path, socket=tmp_path / "s"))

    cri = settings["plugins"]["io.containerd.grpc.v1.cri"]
    assert settings["root"].startswith(str(tmp_path))
    assert settings["state"].startswith(str(tmp_path))
    assert settings["grpc"]["address"] == str(tmp_path / "s")
    assert cri["cni"] == {"bin_dir": str(tmp_path / "plugins"), "conf_dir": str(tmp_path / "cni")}
    assert cri["containerd"]["runtimes"]["runc"]["options"] == {"SystemdCgroup": False}


def test_the_kubelet_has_a_control_group_of_its_own(tmp_path: Path) -> None:
    text = nodeconfig.compose_kubelet(
        tmp_path, socket=tmp_path / "s", port=4711, cgroup="/leasehold-1", authority=tmp_path / "ca"
    )

    settings = json.loads(text)
    assert settings["cgroupRoot"] == "/leasehold-1"
    assert settings["port"] == 4711
    assert settings["makeIPTablesUtilChains"] is False


def test_pods_have_addresses_on_a_bridge(tmp_path: Path) -> None:
    (plugin,) = json.loads(nodeconfig.compose_cni(tmp_path / "addresses"))["plugins"]

    assert plugin["ipam"]["dataDir"] == str(tmp_path / "addresses")
    assert plugin["ipam"]["ranges"] == [[{"subnet": nodeconfig.POD_NETWORK}]]
