"""Our ears on a real API server, kopf and the watch of Secrets: what is heard, what wakes whom, what a gap hides."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import aiohttp
import kopf
import pytest

from leasehold.cluster import gist, listing
from leasehold.cluster.api import KubeApi, Request
from leasehold.cluster.mirror import Mirror
from leasehold.cluster.watch import SecretWatch
from leasehold.domain.errors import Unavailable
from leasehold.domain.facts import Key
from leasehold.handlers import ear, habits
from leasehold.handlers.desk import Desk
from leasehold.handlers.watches import Watches
from leasehold.schedule.agenda import Agenda, Lane
from leasehold.schedule.clock import SystemClock
from testbed.controlplane import ControlPlane
from tests.contracts.canary import assert_clean
from tests.contracts.cluster import external_secret, secret
from tests.live.cluster_bench import LiveBench

PATIENCE = 30.0
LATER = 60.0
MANAGED = {"reconcile.external-secrets.io/managed": "true"}
pytestmark = pytest.mark.usefixtures("crds")


class Clock(SystemClock):
    """The machine's clock, which a test can put ahead."""

    ahead = 0.0

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return super().monotonic() + self.ahead


class Wire:
    """The operator's client behind a gate: what the watch of Secrets needs of `KubeApi`."""

    def __init__(self, api: KubeApi, gate: asyncio.Event) -> None:
        self._api, self._gate = api, gate

    async def send(self, request: Request) -> Any:
        """Send a request while the gate is open."""
        self._check()
        return await self._api.send(request)

    async def stream(self, request: Request, *, opened: Callable[[], None]) -> AsyncIterator[bytes]:
        """Open a stream while the gate is open."""
        self._check()
        async for line in self._api.stream(request, opened=opened):
            yield line

    def _check(self) -> None:
        if not self._gate.is_set():
            raise Unavailable("the network is down")


class Post:
    """The ears, mirror and agenda as the operator joins them, for one namespace; nothing is ever looked at."""

    def __init__(self, bench: LiveBench) -> None:
        self.bench, self.clock, self.mirror = bench, Clock(), Mirror()
        self.agenda = Agenda(self.clock)
        self.desk = Desk(self.mirror, self.agenda, bench.api, self.clock, namespace=bench.namespace)
        places = {kind: listing.RESOURCES[kind] for kind in self.desk.kinds}
        kinds = {place.plural: kind for kind, place in places.items()}
        self.watches = Watches(kinds, self.clock.monotonic, listed=self.listed)
        self.open = asyncio.Event()
        self.open.set()
        self.bodies: list[Any] = []
        self.lists: list[str] = []
        del places[gist.SECRET]
        self._places = {kind: (place.group, place.version, place.plural) for kind, place in places.items()}
        self._secrets = SecretWatch(
            cast("Any", Wire(bench.api, self.open)),
            self.clock,
            namespace=bench.namespace,
            heard=self.heard,
            fortune=self.watches,
        )
        self._deaf = asyncio.Event()
        self._task: asyncio.Future[None] | None = None
        self._watching: asyncio.Future[Any] | None = None

    def heard(self, kind: str, event: str | None, body: Any) -> None:
        """Take one event, as the desk does, and keep it."""
        self.bodies.append(dict(body))
        self.desk.heard(kind, event, body)

    def listed(self, kind: str) -> None:
        """Take it that kopf lists a kind."""
        self.lists.append(kind)
        self.desk.listed(kind)

    async def start(self) -> None:
        """Hear everything once, then watch."""
        versions = {kind: await self.desk.hear_list(kind) for kind in self.desk.kinds}
        self.looked_at()
        self._watching = asyncio.ensure_future(self._secrets.run(versions[gist.SECRET]))
        for kind in self._places:
            self.watches.go_on(listing.RESOURCES[kind].plural, versions[kind])
        registry = kopf.OperatorRegistry()
        ear.register(registry, self, self._places)
        habits.log_in(
            registry,
            server=self.bench.api.access.server,
            namespace=self.bench.namespace,
            session=self._session,
            clock=self.clock,
        )
        older = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=habits.settings(),
            standalone=True,
            identity=cast("Any", "post"),
            stop_flag=self._deaf,
            namespaces=[self.bench.namespace],
        )
        self._task = asyncio.ensure_future(kopf.run_tasks(tasks, ignored=older))
        await self.until(lambda: not self.watches.problem())

    def _session(self) -> aiohttp.ClientSession:
        access = self.bench.api.access
        prepare = habits.middleware(lambda: access.token().reveal().decode(), self.watches)

        async def gate(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            if not self.open.is_set():
                raise aiohttp.ClientConnectionError("the network is down")
            return await handler(request)

        connector = aiohttp.TCPConnector(limit=0, ssl=access.tls or True)
        return aiohttp.ClientSession(connector=connector, middlewares=[prepare, gate])

    async def stop(self) -> None:
        """End the watches."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        self._deaf.set()
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._task, 10.0)

    async def until(self, probe: Callable[[], object]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not probe():
                for task in (self._task, self._watching):
                    assert task is None or not task.done(), "a watch has ended"
                await asyncio.sleep(0.02)

    def looked_at(self) -> set[Key]:
        """Return what is due now, and take it for done."""
        found = set()
        while (key := self.agenda.take_now()) is not None:
            found.add(key)
            self.agenda.done(key, None)
        return found

    def key(self, kind: str, name: str) -> Key:
        """Name an object of the namespace."""
        return Key(kind, self.bench.namespace, name)


@pytest.fixture
async def bench(control_plane: ControlPlane, namespace: str) -> AsyncIterator[LiveBench]:
    bench = LiveBench(control_plane, namespace)
    yield bench
    await bench.close()


@contextlib.asynccontextmanager
async def listening(bench: LiveBench) -> AsyncIterator[Post]:
    """Hear a namespace with a store, two ExternalSecrets of it and a Secret. No fixture: when kopf ends it cancels
    every task that is younger than itself, and a fixture's end is one."""
    bench.put(store())
    bench.put(external_secret())
    bench.put(external_secret("other"))
    bench.put(secret("db", MANAGED, password="Y2FuYXJ5"))
    post = Post(bench)
    try:
        await post.start()
        yield post
    finally:
        await post.stop()


def store(name: str = "vault") -> dict[str, Any]:
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "SecretStore",
        "metadata": {"name": name},
        "spec": {"provider": {"fake": {"data": []}}},
    }


async def test_what_is_there_at_the_start_is_known(bench: LiveBench) -> None:
    async with listening(bench) as post:
        assert {key.name for key in post.mirror.external_secrets(post.bench.namespace)} == {"db", "other"}
        assert post.mirror.store(gist.STORE, post.bench.namespace, "vault") is not None
        assert post.mirror.target(post.bench.namespace, "db") is not None
        assert all(post.mirror.heard(kind) for kind in post.desk.kinds)


async def test_a_change_of_the_spec_wakes_its_object_alone(bench: LiveBench) -> None:
    async with listening(bench) as post:
        post.bench.edit(gist.EXTERNAL_SECRET, "db", lambda body: body["spec"].update(refreshInterval="7m"))
        await post.until(lambda: post.agenda.depths()[Lane.USER])
        assert post.looked_at() == {post.key(gist.EXTERNAL_SECRET, "db")}


async def test_a_status_wakes_nobody(bench: LiveBench) -> None:
    async with listening(bench) as post:
        key = post.key(gist.EXTERNAL_SECRET, "db")
        body = post.bench.find(gist.EXTERNAL_SECRET, "db")
        assert body is not None
        path = listing.RESOURCES[gist.EXTERNAL_SECRET].path(key.namespace, "db", "status")
        post.bench._wire.call("PUT", path, {**body, "status": {"refreshTime": "2026-01-01T00:00:00Z"}})
        await post.until(lambda: _refreshed(post, key))
        assert post.looked_at() == set()


def _refreshed(post: Post, key: Key) -> bool:
    found = post.mirror.external_secret(key)
    return found is not None and found.status.refresh_time is not None


async def test_a_store_wakes_those_that_use_it(bench: LiveBench) -> None:
    async with listening(bench) as post:
        post.bench.edit(gist.STORE, "vault", lambda body: body["spec"].update(refreshInterval=7))
        await post.until(lambda: post.agenda.depths()[Lane.USER] >= 3)
        named = {post.key(gist.STORE, "vault"), *(post.key(gist.EXTERNAL_SECRET, name) for name in ("db", "other"))}
        assert post.looked_at() == named


async def test_a_secret_is_heard_without_its_data(bench: LiveBench) -> None:
    async with listening(bench) as post:
        post.bench.edit("Secret", "db", lambda body: body["data"].update(password="Y2FuYXJ5Mg=="))
        await post.until(lambda: post.agenda.depths()[Lane.DRIFT])
        assert post.looked_at() == {post.key(gist.EXTERNAL_SECRET, "db")}
        post.bench.put(secret("unlabelled", {}, password="Y2FuYXJ5"))
        post.bench.remove("Secret", "db")
        await post.until(lambda: post.mirror.target(post.bench.namespace, "db") is None)
        assert post.looked_at() == {post.key(gist.EXTERNAL_SECRET, "db")}
        assert post.mirror.target(post.bench.namespace, "unlabelled") is None
        assert_clean(post.bodies, secrets=("Y2FuYXJ5", "canary"))


async def test_a_secret_that_loses_its_label_is_taken_for_gone(bench: LiveBench) -> None:
    async with listening(bench) as post:
        post.bench.edit("Secret", "db", lambda body: body["metadata"].pop("labels"))
        await post.until(lambda: post.mirror.target(post.bench.namespace, "db") is None)
        assert post.looked_at() == {post.key(gist.EXTERNAL_SECRET, "db")}


async def test_nothing_is_written_by_listening(bench: LiveBench) -> None:
    async with listening(bench) as post:
        before = {body["metadata"]["name"]: body["metadata"] for body in post.bench.every(gist.EXTERNAL_SECRET)}
        post.bench.put(external_secret("third"))
        await post.until(lambda: post.key(gist.EXTERNAL_SECRET, "third") in post.looked_at())
        after = {body["metadata"]["name"]: body["metadata"] for body in post.bench.every(gist.EXTERNAL_SECRET)}
        assert {name: after[name] for name in before} == before
        assert not {"annotations", "finalizers"} & set(after["third"])
        assert post.bench.every("Event") == []


async def test_an_api_server_that_restarts_is_heard_again(bench: LiveBench, control_plane: ControlPlane) -> None:
    async with listening(bench) as post:
        control_plane.apiserver.stop()
        control_plane.start_api()
        post.bench.edit(gist.EXTERNAL_SECRET, "db", lambda body: body["spec"].update(refreshInterval="7m"))
        await post.until(lambda: post.agenda.depths()[Lane.USER])
        assert post.key(gist.EXTERNAL_SECRET, "db") in post.looked_at()


async def test_a_deletion_in_a_gap_of_the_watch_is_noticed(bench: LiveBench, control_plane: ControlPlane) -> None:
    """kopf lists again after the gap and says nothing of what went meanwhile."""
    async with listening(bench) as post:
        post.open.clear()
        control_plane.apiserver.stop()
        control_plane.start_api()  # it has forgotten the history that the watch would go on from
        post.bench.remove(gist.EXTERNAL_SECRET, "other")
        post.bench.remove("Secret", "db")
        control_plane.apiserver.stop()
        control_plane.start_api()
        post.bench.put(external_secret("new"))
        post.bench.put(secret("new", MANAGED))
        post.lists.clear()
        post.open.set()
        await post.until(lambda: post.mirror.uid(post.key(gist.EXTERNAL_SECRET, "new")))
        await post.until(lambda: post.mirror.target(post.bench.namespace, "new"))
        assert {gist.EXTERNAL_SECRET, gist.SECRET} <= set(post.lists)
        assert post.mirror.uid(post.key(gist.EXTERNAL_SECRET, "other")), "kopf told of a deletion in the gap: no sweep?"
        assert post.mirror.target(post.bench.namespace, "db") is not None
        post.clock.ahead += LATER
        post.looked_at()
        await post.desk._settle()
        assert post.looked_at() == {post.key(gist.EXTERNAL_SECRET, name) for name in ("other", "db")}
        assert post.mirror.uid(post.key(gist.EXTERNAL_SECRET, "other")) == ""
        assert post.mirror.uid(post.key(gist.EXTERNAL_SECRET, "db"))
        assert post.mirror.target(post.bench.namespace, "db") is None
        assert post.mirror.store(gist.STORE, post.bench.namespace, "vault") is not None
