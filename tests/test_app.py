"""The whole operator in this process, against a cluster in memory behind HTTP: life, readiness, bad days of kopf."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
import yaml

from leasehold import settings
from leasehold.app import Operator
from leasehold.handlers import desk, habits
from tests.contracts.canary import assert_clean
from tests.worlds.apiserver import ApiServer
from tests.worlds.clock import ManualClock
from tests.worlds.cluster import SYSTEM, ClusterWorld, Fault


class Town:
    """A cluster, its API server, and the operator's life in it."""

    def __init__(self, folder: Path) -> None:
        self.world = ClusterWorld(ManualClock())
        self.server = ApiServer(self.world)
        self.folder = folder
        self.world.put(
            {
                "kind": "SecretStore",
                "apiVersion": "external-secrets.io/v1",
                "metadata": {"name": "store", "namespace": "shop"},
                "spec": {"provider": {"fake": {"data": [{"key": "app", "value": "canary"}]}}},
            }
        )

    def ask(self, name: str = "db", **spec: Any) -> None:
        """Write an ExternalSecret."""
        told = {
            "secretStoreRef": {"name": "store"},
            "refreshInterval": "1h",
            "data": [{"secretKey": "password", "remoteRef": {"key": "app"}}],
            **spec,
        }
        metadata = {"name": name, "namespace": "shop"}
        body = {"kind": "ExternalSecret", "apiVersion": "external-secrets.io/v1", "metadata": metadata, "spec": told}
        self.world.put(body)

    def settings(self, **more: str) -> settings.Settings:
        """Return the operator's settings, reading a kubeconfig that names the API server."""
        config = {
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "clusters": [{"name": "x", "cluster": {"server": self.server.url}}],
            "users": [{"name": "x", "user": {"tokenFile": "token"}}],
        }
        (self.folder / "token").write_text("canary-token")
        path = self.folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        addresses = {"metrics_addr": "127.0.0.1:0", "live_addr": "127.0.0.1:0"}
        return settings.load({"kubeconfig": str(path), "operator_namespace": SYSTEM, **addresses, **more})

    @asynccontextmanager
    async def operator(self, **more: str) -> AsyncIterator[Life]:
        """Run the operator until the end of the block, then ask it to stop."""
        operator = Operator(self.settings(**more))
        life = Life(operator, asyncio.ensure_future(operator.run()))
        try:
            yield life
        finally:
            if not life.task.done():
                operator.stop()
            await asyncio.wait((life.task,), timeout=30)
            assert life.task.done(), "it does not end"

    async def synced(self, name: str = "db") -> None:
        """Wait until the ExternalSecret is Ready."""
        await self.server.until(lambda: (self.world.ready("ExternalSecret", "shop", name) or [""])[0] == "True")


@dataclass
class Life:
    """One run of the operator."""

    operator: Operator
    task: asyncio.Task[int]

    async def readiness(self) -> dict[str, str]:
        """Return what /readyz says, check by check."""
        address = self.operator._server.addresses["--live-addr"]
        async with aiohttp.ClientSession() as session, session.get(f"http://{address}/readyz") as answer:
            checks = (await answer.json(content_type=None))["checks"]
            found = {check["name"]: check["reason"] for check in checks}
            assert (answer.status == 200) is not any(found.values())
            return found


@pytest.fixture
async def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    monkeypatch.setattr(desk, "SETTLE_EVERY", 0.05)
    # kopf's end waits for all younger tasks, those of our server included
    monkeypatch.setattr("leasehold.app.KOPF_PATIENCE", 0.05)
    town = Town(tmp_path)
    async with town.server.open():
        yield town


async def test_a_life(town: Town) -> None:
    town.ask("early")
    with structlog.testing.capture_logs() as logs:
        async with town.operator() as life:
            await town.synced("early")
            await town.server.until_watched()
            town.ask("late")
            await town.synced("late")
            assert town.world.data("shop", "late") == {"password": "canary"}
            town.world.remove("Secret", "shop", "late")
            await town.server.until(lambda: town.world.data("shop", "late"))
            assert set((await life.readiness()).values()) == {""}
            town.world.remove("ExternalSecret", "shop", "late")
        assert life.task.result() == 0
    assert (logs[0]["event"], logs[-1]["event"]) == ("started", "stopped")
    assert_clean(logs)


async def test_secrets_and_namespaces_come_without_their_content(town: Town) -> None:
    town.ask()
    async with town.operator():
        await town.synced()
        await town.server.until_watched()
    asked = town.server.lists["secrets"] + town.server.lists["namespaces"]
    theirs = [one for one in asked if one.namespace != SYSTEM]  # in its own namespace it reads its records
    assert {"watch" in one.params for one in theirs} == {True, False}
    assert all("as=PartialObjectMetadata" in one.accept for one in theirs)
    selectors = {one.params.get("labelSelector") for one in theirs if one.resource.plural == "secrets"}
    assert selectors == {"reconcile.external-secrets.io/managed=true"}


async def test_kopf_writes_nothing(town: Town) -> None:
    town.ask()
    async with town.operator():
        await town.synced()
        await town.server.until_watched()
    body = town.world.find("ExternalSecret", "shop", "db")
    assert body is not None
    assert not {"finalizers", "annotations"} & set(body["metadata"])
    assert {write[1] for write in town.world.writes} == {"secrets", "secretstores/status", "externalsecrets/status"}


async def test_a_start_writes_nothing_where_all_is_well(town: Town) -> None:
    town.ask()
    async with town.operator():
        await town.synced()
        await town.server.until(lambda: town.world.ready("SecretStore", "shop", "store"))
    town.world.calls.clear()
    async with town.operator() as life:
        await town.server.until_watched()
        await town.server.until(lambda: life.operator._agenda.running == 0 and not life.operator._agenda.lag())
    assert town.world.writes == []


async def test_changes_while_nobody_lived_are_seen(town: Town) -> None:
    town.ask()
    async with town.operator():
        await town.synced()
    town.world.remove("Secret", "shop", "db")
    async with town.operator():
        await town.server.until(lambda: town.world.data("shop", "db"))


# -------------------------------------------------------------------------------------------------------------- watches


async def test_watches_that_break_go_on_where_they_were(town: Town) -> None:
    town.ask()
    async with town.operator() as life:
        await town.synced()
        await town.server.until_watched()
        town.server.break_watches()
        town.world.remove("Secret", "shop", "db")
        await town.server.until(lambda: town.world.data("shop", "db"))
        assert set((await life.readiness()).values()) == {""}


async def test_a_deletion_that_no_watch_tells_of_is_found(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasehold.cluster.lists.QUIET", 0.1)
    town.ask()
    async with town.operator():
        await town.synced()
        await town.server.until_watched()
        town.world.remove("Secret", "shop", "db")
        town.server.expire()  # the very change is among what is forgotten, and the list that follows is empty
        await town.server.until(lambda: town.world.data("shop", "db"))


async def test_a_secret_is_heard_after_the_gap_too(town: Town) -> None:
    async with town.operator():
        await town.server.until_watched()
        town.server.expire()
        town.ask()
        await town.synced()


async def test_a_watch_that_may_not_be_makes_the_operator_unready(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasehold.handlers.watches.FAILING", 0.0)
    fault = town.world.inject(Fault("watch", "secrets", status=403, reason="Forbidden", times=None))
    async with town.operator() as life:
        await town.server.until(lambda: town.server.watching.get("externalsecrets"))
        assert (await life.readiness())["watches"] == "secrets are not watched yet"
        fault.lift()
        await town.server.until(lambda: town.server.watching.get("secrets"))
        await town.server.until_watched()
        assert (await life.readiness())["watches"] == ""
        town.world.inject(Fault("watch", "secrets", status=500, times=None))
        town.server.break_watches()
        await town.server.until(lambda: "secrets has failed" in life.operator._watches.problem())
        assert "the watch of secrets has failed" in (await life.readiness())["watches"]


async def test_a_token_that_ends_is_replaced_and_the_watches_with_it(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(habits, "LOGIN_EVERY", 0.1)
    town.ask()
    town.server.tokens = {"canary-token"}
    async with town.operator() as life:
        await town.synced()
        await town.server.until_watched()
        town.server.tokens = {"next"}
        (town.folder / "token").write_text("next")
        town.server.break_watches()
        town.world.remove("Secret", "shop", "db")
        await town.server.until(lambda: town.world.data("shop", "db"))
        assert not life.task.done()


# ------------------------------------------------------------------------------------------------------------- bad days


async def test_an_api_server_that_is_not_there_yet(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasehold.app.UNHEARD", 0.05)
    town.ask()
    outage = town.world.fail(times=None)
    async with town.operator() as life:
        await town.server.until(lambda: town.world.calls)
        await town.server.until(lambda: "API server" in life.operator._problem)
        assert "the API server" in (await life.readiness())["lists"]
        outage.lift()
        await town.synced()


async def test_a_crd_that_is_not_there_yet(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasehold.app.UNHEARD", 0.05)
    town.ask()
    town.world.undefined.add("VaultDynamicSecret")
    async with town.operator() as life:
        await town.server.until(lambda: "vaultdynamicsecrets.generators.external-secrets.io" in life.operator._problem)
        assert town.world.writes[1:] == []  # no pass before everything is heard
        town.world.undefined.clear()
        await town.synced()


async def test_a_missing_right_is_named_until_it_is_granted(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasehold.app.UNHEARD", 0.05)
    town.ask()
    fault = town.world.deny("list", "secretstores")
    async with town.operator() as life:
        await town.server.until(lambda: "may not list secretstores" in life.operator._problem)
        fault.lift()
        await town.synced()


async def test_an_outage_of_the_api_server_is_outlived(town: Town) -> None:
    town.ask()
    async with town.operator() as life:
        await town.synced()
        await town.server.until_watched()
        outage = town.world.fail(times=None)
        town.server.break_watches()
        town.world.remove("Secret", "shop", "db")
        await town.server.until(lambda: life.operator._watches._watches["secrets"].failing)
        outage.lift()
        await town.server.until(lambda: town.world.data("shop", "db"))
        assert not life.task.done()


async def test_one_namespace_needs_no_right_in_others(town: Town) -> None:
    town.ask()
    for plural in ("namespaces", "clustersecretstores"):
        town.world.deny("*", plural)
    async with town.operator(namespace="shop") as life:
        await town.synced()
        await town.server.until_watched()
        assert set((await life.readiness()).values()) == {""}
    assert not [path for path in town.server.paths if path.startswith(("/api/v1/secrets", "/api/v1/namespaces?"))]
