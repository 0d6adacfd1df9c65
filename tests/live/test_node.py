"""What only a real node shows: a process's environment and volumes, its own token, its restarts."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from testbed import images
from testbed.controlplane import ControlPlane
from testbed.kubectl import Kubectl
from testbed.mounts import Mount
from testbed.node import Node
from testbed.vault import Vault

pytestmark = pytest.mark.node


def workload(script: str, **more: Any) -> dict[str, object]:
    """A Deployment of one pod on the real node, which runs a shell script; it sees the Secret `app` in both ways."""
    container = {
        "name": "main",
        "image": images.BUSYBOX,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", script],
        "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "app", "key": "password"}}}],
        "volumeMounts": [{"name": "app", "mountPath": "/app"}],
    }
    volumes = [{"name": "app", "secret": {"secretName": "app"}}]
    pod = {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 0, **more}
    labels = {"app": "web"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": Node.place(pod)},
        },
    }


def secret(password: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "app"}, "stringData": {"password": password}}


Shell = Callable[[str], str]


@pytest.fixture
def kubectl(control_plane: ControlPlane, namespace: str) -> Kubectl:
    """kubectl in the test's own namespace."""
    return Kubectl(control_plane.kubeconfig(namespace=namespace))


@pytest.fixture
def shell(kubectl: Kubectl) -> Shell:
    """Run a script in the pod of the Deployment `web`."""
    return lambda script: kubectl.run("exec", "deployment/web", "--", "sh", "-c", script)


def roll_out(kubectl: Kubectl, namespace: str, *documents: object) -> None:
    kubectl.apply(*documents, namespace=namespace)
    kubectl.run("rollout", "status", "deployment/web", "--timeout=60s")


def test_a_volume_follows_the_secret_and_the_environment_does_not(
    node: Node, kubectl: Kubectl, namespace: str, shell: Shell
) -> None:
    roll_out(kubectl, namespace, secret("one"), workload("sleep 1000"))
    assert shell("echo $PASSWORD; cat /app/password") == "one\none"

    kubectl.apply(secret("two"), namespace=namespace)
    node.kubelet.wait_until(lambda: shell("cat /app/password") == "two", "updating the volume")
    assert shell("echo $PASSWORD") == "one\n"

    kubectl.run("rollout", "restart", "deployment/web")
    kubectl.run("rollout", "status", "deployment/web", "--timeout=60s")
    assert shell("echo $PASSWORD") == "two\n"


def test_a_pod_logs_into_vault_with_its_projected_token(
    node: Node, vault: Vault, mount: Mount, kubectl: Kubectl, namespace: str, shell: Shell
) -> None:
    mount.put("app", {"password": "correct horse"})
    role = mount.kubernetes_role(namespace=namespace, audience="vault")
    token = {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}}
    deployment = workload("sleep 1000")
    pod: Any = deployment["spec"]["template"]["spec"]  # type: ignore[index]
    pod["volumes"].append({"name": "jwt", "projected": {"sources": [token]}})
    pod["containers"][0]["volumeMounts"].append({"name": "jwt", "mountPath": "/jwt"})
    roll_out(kubectl, namespace, secret("x"), deployment)

    login = f'{{"role": "{role}", "jwt": "\'$(cat /jwt/token)\'"}}'
    address = f"http://{Node.ADDRESS}:{vault.port}/v1"
    said = shell(
        f"wget -q -O- --header 'Content-Type: application/json' --post-data '{login}' {address}/auth/kubernetes/login"
    )

    metadata = json.loads(said)["auth"]["metadata"]
    assert metadata["service_account_namespace"] == namespace
    assert metadata["service_account_name"] == "default"


def test_a_crash_loop_heals_when_the_secret_does(node: Node, kubectl: Kubectl, namespace: str) -> None:
    script = '[ "$PASSWORD" = good ] || exit 1; sleep 1000'
    kubectl.apply(secret("bad"), workload(script), namespace=namespace)

    def status() -> dict[str, Any]:
        pods = kubectl.get("pods")["items"]
        states = [state for pod in pods for state in pod["status"].get("containerStatuses", [])]
        return states[0] if states else {"restartCount": 0}

    node.kubelet.wait_until(lambda: status()["restartCount"] >= 1, "restarting the container")

    kubectl.apply(secret("good"), namespace=namespace)

    kubectl.run("rollout", "status", "deployment/web", "--timeout=60s")
    assert status()["ready"] is True


def test_logs_and_the_api_server_are_reached(
    node: Node, control_plane: ControlPlane, kubectl: Kubectl, namespace: str, shell: Shell
) -> None:
    roll_out(kubectl, namespace, secret("x"), workload("echo started; sleep 1000"))

    assert kubectl.run("logs", "deployment/web") == "started\n"
    assert "10.0.0.1" in shell("nslookup kubernetes.default.svc.cluster.local")
    assert shell("nc -w 3 10.0.0.1 443 </dev/null && echo open") == "open\n"


def test_pods_come_back_with_the_node(node: Node, kubectl: Kubectl, namespace: str, shell: Shell) -> None:
    roll_out(kubectl, namespace, secret("x"), workload("sleep 1000"))
    (before,) = kubectl.get("pods")["items"]

    node.restart()

    def is_back() -> bool:
        (pod,) = kubectl.get("pods")["items"]
        (state,) = pod["status"]["containerStatuses"]
        return bool(pod["metadata"]["uid"] == before["metadata"]["uid"] and state["ready"] and state["restartCount"])

    node.kubelet.wait_until(is_back, "bringing the pod back")
    assert shell("echo $PASSWORD") == "x\n"
