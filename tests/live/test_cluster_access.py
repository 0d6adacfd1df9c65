"""Ways to a real API server: the pod's own account, and what kubeconfigs say."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from leasehold.cluster import access
from leasehold.cluster.access import Access
from leasehold.cluster.api import KubeApi, Request, Resource
from leasehold.domain.errors import Denied, Misconfigured, Unavailable
from leasehold.schedule.clock import SystemClock
from testbed import certificates
from testbed.controlplane import ControlPlane
from tests.contracts.canary import assert_clean

REVIEWS = Resource("authentication.k8s.io", "v1", "selfsubjectreviews")
Ask = Callable[[Access], Awaitable[str]]


@pytest.fixture
async def name_of() -> AsyncIterator[Ask]:
    """Ask the API server who somebody is."""
    async with AsyncExitStack() as open_clients:

        async def ask(found: Access) -> str:
            api = KubeApi(found, SystemClock())
            open_clients.push_async_callback(api.close)
            answer = await api.send(Request("create", REVIEWS, body={}))
            return str(answer["status"]["userInfo"]["username"])

        yield ask


@pytest.fixture
def pod(tmp_path: Path, control_plane: ControlPlane, namespace: str) -> Path:
    """The folder that the kubelet mounts for the account `default` of the namespace."""
    (tmp_path / "token").write_text(control_plane.service_account_token(namespace, "default") + "\n")
    (tmp_path / "ca.crt").write_text(control_plane.ca_pem)
    (tmp_path / "namespace").write_text(namespace)
    return tmp_path


def from_pod(folder: Path, control_plane: ControlPlane) -> Access:
    host, port = control_plane.url.removeprefix("https://").rsplit(":", 1)
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    return access.from_pod(folder, SystemClock().monotonic, environ=environ)


async def test_a_pod_needs_neither_dns_nor_passwd(
    pod: Path, control_plane: ControlPlane, namespace: str, name_of: Ask
) -> None:
    found = from_pod(pod, control_plane)
    assert await name_of(found) == f"system:serviceaccount:{namespace}:default"
    assert found.namespace == namespace
    assert access.service_account(found.token()) == (namespace, "default")


async def test_a_token_that_was_replaced_is_read_again_when_it_is_refused(
    pod: Path, control_plane: ControlPlane, namespace: str, name_of: Ask
) -> None:
    token = (pod / "token").read_text()
    (pod / "token").write_text("canary-that-ended")
    found = from_pod(pod, control_plane)
    with pytest.raises(Denied, match="does not know") as caught:
        await name_of(found)
    assert_clean(caught.value)
    (pod / "token").write_text(token)
    assert await name_of(found) == f"system:serviceaccount:{namespace}:default"


async def test_an_authority_that_is_not_the_servers(pod: Path, control_plane: ControlPlane, name_of: Ask) -> None:
    (pod / "ca.crt").write_text(certificates.found("another").pem)
    with pytest.raises(Unavailable, match="Certificate"):
        await name_of(from_pod(pod, control_plane))


class Config:
    """A kubeconfig that a test fills."""

    def __init__(self, folder: Path, control_plane: ControlPlane) -> None:
        self.folder, self._plane = folder, control_plane
        self.cluster: dict[str, Any] = {"server": control_plane.url, "certificate-authority-data": self.trusted}
        self.user: dict[str, Any] = {}

    @property
    def trusted(self) -> str:
        """The authority, as kubeconfigs write it."""
        return base64.b64encode(self._plane.ca_pem.encode()).decode()

    def place(self, name: str, text: str) -> str:
        """Write a file beside the kubeconfig; return its relative name."""
        (self.folder / name).write_text(text)
        return name

    def find(self) -> Access:
        """Return the access that it gives."""
        config = {
            "current-context": "here",
            "contexts": [
                {"name": "elsewhere", "context": {"cluster": "none", "user": "none"}},
                {"name": "here", "context": {"cluster": "bed", "user": "me", "namespace": "team"}},
            ],
            "clusters": [{"name": "bed", "cluster": self.cluster}],
            "users": [{"name": "me", "user": self.user}],
        }
        path = self.folder / "config"
        path.write_text(json.dumps(config))
        return access.find(str(path), SystemClock().monotonic, environ={})


@pytest.fixture
def config(tmp_path: Path, control_plane: ControlPlane) -> Config:
    return Config(tmp_path, control_plane)


async def test_a_token_in_the_kubeconfig(config: Config, control_plane: ControlPlane, name_of: Ask) -> None:
    config.user = {"token": control_plane.admin_token}
    found = config.find()
    assert await name_of(found) == "admin"
    assert found.namespace == "team"


async def test_a_token_file_and_an_authority_beside_it(
    config: Config, control_plane: ControlPlane, name_of: Ask
) -> None:
    config.user = {"tokenFile": config.place("token", control_plane.admin_token)}
    config.cluster = {"server": control_plane.url, "certificate-authority": config.place("ca", control_plane.ca_pem)}
    assert await name_of(config.find()) == "admin"


@pytest.mark.parametrize("inline", [True, False])
async def test_a_client_certificate(config: Config, control_plane: ControlPlane, name_of: Ask, *, inline: bool) -> None:
    certificate, key = control_plane._authority.issue("carol")
    if inline:
        config.user = {
            "client-certificate-data": base64.b64encode(certificate.encode()).decode(),
            "client-key-data": base64.b64encode(key.encode()).decode(),
        }
    else:
        config.user = {
            "client-certificate": config.place("tls.crt", certificate),
            "client-key": config.place("tls.key", key),
        }
    assert await name_of(config.find()) == "carol"


async def test_trust_is_only_given_up_on_demand(config: Config, control_plane: ControlPlane, name_of: Ask) -> None:
    config.user = {"token": control_plane.admin_token}
    config.cluster = {"server": control_plane.url}
    with pytest.raises(Unavailable):
        await name_of(config.find())
    config.cluster["insecure-skip-tls-verify"] = True
    assert await name_of(config.find()) == "admin"


async def test_a_token_that_nobody_knows(config: Config, name_of: Ask) -> None:
    config.user = {"token": "canary-unknown"}
    with pytest.raises(Denied, match="check the operator's token") as caught:
        await name_of(config.find())
    assert_clean(caught.value)


def test_a_plugin_without_the_extra_says_what_to_install(config: Config) -> None:
    if _has_official_client():
        pytest.skip("the kubernetes extra is installed")
    config.user = {"exec": {"command": "aws", "apiVersion": "client.authentication.k8s.io/v1"}}
    with pytest.raises(Misconfigured, match=r"leasehold\[kubernetes\]"):
        config.find()


def _has_official_client() -> bool:
    try:
        import kubernetes  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    except ImportError:
        return False
    return True
