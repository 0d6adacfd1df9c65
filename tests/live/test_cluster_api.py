"""The thin client on a real API server, in good days and bad ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from leasehold.cluster import api as client_module
from leasehold.cluster.access import find
from leasehold.cluster.api import CONFIG_MAPS, SECRETS, KubeApi, Request, Resource
from leasehold.cluster.secrets import KubeSecrets
from leasehold.domain.errors import Misconfigured, Missing, Unavailable
from leasehold.schedule.clock import SystemClock
from testbed.controlplane import ControlPlane
from tests.contracts.canary import assert_clean
from tests.contracts.cluster import hidden, wanted
from tests.live.cluster_bench import LiveBench

LARGEST = hidden(blob=b"canary" + bytes(1024 * 1024 - 6))
"""The largest Secret that there is: one mebibyte of values."""
UNLUCKY = Request("create", SECRETS, "default", body={"data": {"a": "Y2FuYXJ5"}})


class Client:
    """A client of the administrator's whose requests are counted."""

    def __init__(self, control_plane: ControlPlane, *, correlation: str = "") -> None:
        clock = SystemClock()
        found = find(str(control_plane.kubeconfig()), clock.monotonic, environ={})
        self.seen: list[tuple[str, str, str]] = []
        self.api = KubeApi(found, clock, concurrency=4, observe=self._observe, correlation=lambda: correlation)

    def _observe(self, *, verb: str, resource: str, code: str, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append((verb, resource, code))


@pytest.fixture
async def client(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setattr(client_module, "TIMEOUT", 1.0)
    made = Client(control_plane)
    yield made
    await made.api.close()


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_requests_are_counted_as_rbac_names_them(client: Client, namespace: str) -> None:
    await client.api.send(Request("create", CONFIG_MAPS, namespace, body=config_map("one", a="1")))
    assert await client.api.get(CONFIG_MAPS, namespace, "none") is None
    account = Resource("", "v1", "serviceaccounts")
    await client.api.send(Request("create", account, namespace, "default", subresource="token", body={}))
    with pytest.raises(Misconfigured, match=r"metadata\.name"):
        await client.api.send(Request("create", CONFIG_MAPS, namespace, body=config_map("No Name")))
    assert client.seen == [
        ("create", "configmaps", "201"),
        ("get", "configmaps", "404"),
        ("create", "serviceaccounts/token", "201"),
        ("create", "configmaps", "422"),
    ]


async def test_a_kind_that_is_not_installed(client: Client, namespace: str) -> None:
    with pytest.raises(Missing):
        await client.api.send(Request("list", Resource("nowhere.example", "v1", "things"), namespace))


async def test_the_largest_secret(client: Client, control_plane: ControlPlane, namespace: str) -> None:
    bench = LiveBench(control_plane, namespace)
    await KubeSecrets(client.api).create(wanted(bench, data=LARGEST))
    live = await KubeSecrets(client.api).get(namespace, "db")
    assert live is not None
    assert live.data == LARGEST
    await bench.close()


async def test_many_at_once_all_arrive(client: Client, namespace: str) -> None:
    requests = [Request("create", CONFIG_MAPS, namespace, body=config_map(f"map-{number}")) for number in range(40)]
    for answer in await asyncio.gather(*(client.api.send(request) for request in requests)):
        assert answer["metadata"]["uid"]
    assert len((await client.api.send(Request("list", CONFIG_MAPS, namespace)))["items"]) >= 40


async def test_a_pass_can_be_followed_into_the_audit_log(control_plane: ControlPlane, namespace: str) -> None:
    client = Client(control_plane, correlation="0123456789abcdef")
    await client.api.get(SECRETS, namespace, "none")
    await client.api.close()

    def logged() -> bool:
        lines = control_plane.audit_log.read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines if f'"{namespace}"' in line]
        return any(entry["auditID"] == "0123456789abcdef" and entry["verb"] == "get" for entry in entries)

    control_plane.apiserver.wait_until(logged, "logging our correlation id")


async def test_an_api_server_that_hangs_and_comes_back(
    client: Client, control_plane: ControlPlane, namespace: str
) -> None:
    await client.api.send(Request("create", CONFIG_MAPS, namespace, body=config_map("one")))
    control_plane.pause()
    with pytest.raises(Unavailable, match="does not answer") as caught:
        await client.api.get(CONFIG_MAPS, namespace, "one")
    assert f"{namespace}/one" in str(caught.value)
    tries = client.seen.count(("get", "configmaps", "error"))
    assert tries == client_module.TRIES
    with pytest.raises(Unavailable) as caught:
        await client.api.send(UNLUCKY)
    assert client.seen.count(("create", "secrets", "error")) == 1, "what may have been acted upon is not sent again"
    assert_clean(caught.value, secrets=("Y2FuYXJ5",))
    control_plane.resume()
    assert await client.api.get(CONFIG_MAPS, namespace, "one") is not None


async def test_an_api_server_that_restarts(client: Client, control_plane: ControlPlane, namespace: str) -> None:
    await client.api.send(Request("create", CONFIG_MAPS, namespace, body=config_map("one")))
    control_plane.apiserver.stop()
    with pytest.raises(Unavailable, match="does not answer"):
        await client.api.get(CONFIG_MAPS, namespace, "one")
    control_plane.start_api()
    assert await client.api.get(CONFIG_MAPS, namespace, "one") is not None
