"""The start: before its CRDs, in a pod without cluster DNS, as a user whom nobody knows."""

from __future__ import annotations

import os
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.processes import Yard
from tests.live.operator.cluster import Cluster, Spot, eventually
from tests.live.operator.conftest import MakeOperator
from tests.live.operator.tenant import Tenant, distinct
from tests.live.operator.test_views import page
from tests.live.operator.traces import lines

DEFINITIONS = Path(__file__).resolve().parents[3] / "crds"
NOBODY = 65532
POD = "/run/secrets/kubernetes.io/serviceaccount"


def define(cluster: Cluster) -> None:
    kubectl = cluster.plane.kubectl
    kubectl.apply_files(DEFINITIONS)
    kubectl.run("wait", "--for=condition=Established", "--timeout=30s", f"--filename={DEFINITIONS}")


@pytest.fixture
def undefined(cluster: Cluster, alone: None) -> Iterator[None]:
    """Nobody knows our kinds; they are known again after the test, whatever it does."""
    cluster.plane.kubectl.run("delete", "--filename", str(DEFINITIONS), "--wait", "--timeout=60s")
    yield
    define(cluster)


@pytest.mark.usefixtures("undefined")
def test_before_its_crds(user: Tenant, make_operator: MakeOperator) -> None:
    operator = make_operator()
    operator.start(wait=False)
    eventually(lambda: bool(lines(operator, "not_ready")), "telling what it waits for")
    told = lines(operator, "not_ready")[0]["problem"]
    assert "does not know externalsecrets.external-secrets.io" in told
    assert "apply crds/" in told
    status, text = page(operator, "/readyz")
    assert status != 200
    assert "does not know externalsecrets.external-secrets.io" in text
    assert page(operator, "/healthz")[0] == 200
    define(user.cluster)
    value = {"password": distinct()}
    user.mount.put("app", value)
    user.store()
    user.want()
    user.until_values(value)
    eventually(operator.is_ready, "ready")


def test_without_a_name_in_a_pod_without_dns(
    user: Tenant, make_operator: MakeOperator, yard: Yard, request: pytest.FixtureRequest
) -> None:
    """A pod of a restricted namespace: the token and CA that the kubelet mounts, a uid without a passwd entry, and no
    name server that knows kubernetes.default.svc."""
    if os.geteuid() != 0 or not _can_unshare():
        pytest.skip("needs root and the right to make a mount namespace")
    operator = make_operator()
    plane = user.cluster.plane
    folder = yard.scratch()
    token = plane.service_account_token(operator.namespace, "leasehold", seconds=3600)
    for name, text in (("token", token), ("ca.crt", plane.ca_pem), ("namespace", operator.namespace)):
        (folder / name).write_text(text, encoding="utf-8")
    folder.chmod(0o755)
    host, port = plane.url.removeprefix("https://").split(":")
    script = textwrap.dedent(f"""
        set -e
        mount -t tmpfs tmpfs /run
        mkdir -p {POD} /run/home
        cp {folder}/* {POD}/
        chmod 0755 /run /run/home
        cd /run/home
        exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --no-new-privs "$@"
    """)
    operator.wrapper = ("unshare", "--mount", "sh", "-c", script, "sh")
    operator.settings |= {
        "KUBECONFIG": "",
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": port,
        "POD_NAMESPACE": "",
        "HOME": "/nonexistent",
        "USER": "",
        "LOGNAME": "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    request.addfinalizer(operator.stop)
    operator.start()
    assert f"Uid:\t{NOBODY}\t" in Path(f"/proc/{operator.process.pid}/status").read_text(encoding="utf-8")
    value = {"password": distinct()}
    user.mount.put("app", value)
    user.store()
    user.want()
    user.until_values(value)
    user.cluster.remove(Spot("Secret", user.namespace, "app"))
    user.until_values(value)
    assert lines(operator, "started")[0]["server"] == plane.url


def _can_unshare() -> bool:
    programs = all(shutil.which(name) for name in ("unshare", "setpriv", "mount"))
    return programs and subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode == 0
