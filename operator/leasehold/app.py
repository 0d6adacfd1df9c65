"""The composition root: the one place that knows every room, builds the house, runs it and takes it down again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from typing import Any, cast

import aiohttp
import kopf
import structlog

from leasehold import __version__
from leasehold.cluster import access, keys, listing, mirror
from leasehold.cluster.api import KubeApi
from leasehold.cluster.credentials import KubeCredentials, Tokens
from leasehold.cluster.events import KubeEvents
from leasehold.cluster.mirror import Mirror
from leasehold.cluster.objects import KubeObjects
from leasehold.cluster.records import KubeRecords
from leasehold.cluster.secrets import KubeSecrets
from leasehold.cluster.workloads import KubeWorkloads
from leasehold.domain.errors import DomainError, Missing
from leasehold.domain.facts import Key
from leasehold.domain.ports import Credentials, Identity, StoreRef
from leasehold.flows import check, release, rollout, sync
from leasehold.flows.house import House, Rules
from leasehold.handlers import ear, habits
from leasehold.providers.registry import Habits, OperatorIdentity, Registry
from leasehold.schedule.agenda import Agenda, Lane
from leasehold.schedule.clock import SystemClock
from leasehold.schedule.runner import Runner
from leasehold.settings import Settings
from leasehold.telemetry import correlation, log
from leasehold.telemetry.lag import LoopLag
from leasehold.telemetry.metrics import Metrics
from leasehold.telemetry.server import Check, Server

SETTLE = Key("Sweep", "", "lists")
"""Agenda key of the look for deletions that were lost in a watch gap."""
SETTLE_EVERY = 15.0
OWN_NAME = cast("Any", "leasehold")
"""kopf's name of this process: given, because kopf would ask the passwd file, which knows no arbitrary uid."""
KOPF_PATIENCE = 3.0
"""Seconds that the watches may take to end; what they hold is nothing that could be lost."""
UNHEARD = 5.0
"""Seconds between two tries to hear the first lists."""
_log = structlog.get_logger(__name__)


def run(settings: Settings) -> int:
    """Run the operator until SIGTERM or SIGINT; return the exit code."""
    log.configure(level=settings.loglevel, form=settings.log_format)
    return asyncio.run(_main(settings))


async def _main(settings: Settings) -> int:
    operator = Operator(settings)
    operator.take_signals()
    try:
        return await operator.run()
    except DomainError as error:
        _log.error("stopped", problem=str(error))
        return 1


class Operator:
    """The house, built and running."""

    def __init__(self, settings: Settings) -> None:
        """Build every room; nothing is asked of anybody yet.

        Raises:
            Misconfigured: no cluster is known.
        """
        self._settings = settings
        self._clock = SystemClock()
        self._metrics = Metrics(version=__version__)
        self._access = access.find(settings.kubeconfig, self._clock.monotonic)
        self._api = KubeApi(
            self._access,
            self._clock,
            concurrency=settings.kube_concurrency,
            observe=self._metrics.kube_called,
            correlation=correlation.current,
        )
        self._mirror = Mirror()
        self._agenda = Agenda(self._clock)
        self._records = KubeRecords(self._api, settings.operator_namespace)
        self._events = KubeEvents(self._api, self._clock, dropped=self._metrics.event_dropped)
        self._registry = self._make_registry()
        self._runner = Runner(self._agenda, self._look, workers=settings.concurrent, clock=self._clock)
        self._lag = LoopLag(self._clock, report=self._metrics.loop_lag_set)
        self._house: House | None = None
        self._stop, self._deaf = asyncio.Event(), asyncio.Event()
        self._failed = False
        self._kopf: asyncio.Task[None] | None = None
        self._problem = "the first lists are not heard yet"
        self._watching = False
        self._server = Server(
            self._metrics,
            live=[Check("loop", self._lag.problem)],
            ready=[Check("lists", lambda: self._problem), Check("watches", self._watch_problem)],
            metrics_addr=settings.metrics_addr,
            live_addr=settings.live_addr,
        )

    def _make_registry(self) -> Registry:
        settings = self._settings
        tokens = Tokens(self._api, self._clock)

        def credentials(ref: StoreRef, _spec: Any, identity: Identity) -> Credentials:
            return KubeCredentials(self._api, tokens, ref, identity, settings.vault_operator_audience)

        def observe(provider: str, call: str, status: str, seconds: float) -> None:
            self._metrics.backend_called(provider=provider, call=call, status=status, seconds=seconds)

        own = OperatorIdentity(
            settings.vault_operator_mount, settings.vault_operator_role, settings.vault_operator_audience
        )
        return Registry(
            credentials,
            clock=self._clock,
            operator=own if settings.vault_operator_role else None,
            habits=Habits(concurrency=settings.backend_concurrency, observe=observe, correlation=correlation.current),
        )

    # ---------------------------------------------------------------------------------------------------------- life

    def take_signals(self) -> None:
        """Let SIGTERM and SIGINT ask for the end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)

    def stop(self) -> None:
        """Ask for the end, as SIGTERM does."""
        _log.info("stopping")
        self._stop.set()

    async def run(self) -> int:
        """Run until ``stop``, then drain, log out and close; return the exit code: 1 where the watches broke."""
        await self._server.start()
        _log.info("started", version=__version__, server=self._access.server, namespace=self._settings.namespace or "*")
        stopped = asyncio.ensure_future(self._stop.wait())
        work = asyncio.ensure_future(self._work())
        try:
            await asyncio.wait((stopped, work), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            left = await self._runner.drain(self._settings.shutdown_grace_period)
            if left:
                _log.warning("passes_cut_off", count=left)
            # Only now: at its end kopf cancels every task that is younger than itself, passes included.
            self._deaf.set()
            await asyncio.wait((self._kopf,), timeout=KOPF_PATIENCE) if self._kopf else None
            for task in (work, stopped):
                task.cancel()
            await asyncio.gather(work, stopped, return_exceptions=True)
            await self._close()
        return 1 if self._failed else 0

    async def _close(self) -> None:
        await self._events.flush()
        await self._registry.close()
        await self._api.close()
        await self._server.stop()
        _log.info("stopped")

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._lag.run(), name="lag")
            self._house = await self._open()
            await self._hear_all()
            group.create_task(self._events.run(), name="events")
            group.create_task(self._runner.run(), name="runner")
            group.create_task(self._figures(), name="figures")
            self._kopf = group.create_task(self._listen(), name="kopf")
            self._agenda.at(SETTLE, self._clock.now() + SETTLE_EVERY)
            self._release_orphans()
            self._problem = ""

    async def _open(self) -> House:
        """Read what only the API server has: the fingerprint key and the lease records."""
        settings = self._settings
        key = await self._patiently(keys.fingerprint_key, self._api, settings.operator_namespace)
        await self._patiently(self._records.load)
        return House(
            view=self._mirror,
            secrets=KubeSecrets(self._api),
            objects=KubeObjects(self._api),
            workloads=KubeWorkloads(self._api),
            records=self._records,
            events=self._events,
            registry=self._registry,
            signals=self._metrics,
            clock=self._clock,
            fingerprint_key=key,
            wake=self._wake_in,
            note_status=self._note_status,
            note_target=self._mirror.note_target,
            rules=Rules(
                controller_class=settings.controller_class,
                flood_gate=settings.enable_flood_gate,
                status_freshness=settings.status_freshness,
                store_interval=settings.store_requeue_interval,
                grace_period=settings.default_grace_period,
                revoke_deadline=settings.revoke_deadline,
                cluster_stores=settings.enable_cluster_store_reconciler and not settings.namespace,
                namespaced_stores=settings.enable_secret_store_reconciler,
            ),
        )

    async def _patiently(self, ask: Any, *arguments: Any) -> Any:
        """Ask the API server until it answers; what is wrong is said in /readyz and in the log."""
        while True:
            try:
                return await ask(*arguments)
            except DomainError as error:
                self._problem = str(error)
                _log.warning("not_ready", problem=str(error), retry_in=UNHEARD)
                await self._clock.sleep(max(UNHEARD, error.retry_after or 0.0))

    # ------------------------------------------------------------------------------------------------------- hearing

    def _kinds(self) -> list[str]:
        scoped = bool(self._settings.namespace)
        return [kind for kind in mirror.KINDS if not scoped or kind not in (mirror.CLUSTER_STORE, mirror.NAMESPACE)]

    async def _hear_all(self) -> None:
        """Fill the mirror before the first pass: only then is what is absent really missing."""
        for kind in self._kinds():
            await self._patiently(self._hear_list, kind)

    async def _hear_list(self, kind: str) -> None:
        scope = self._settings.namespace
        try:
            async for body in listing.everything(self._api, kind, scope):
                self._wake_all(self._mirror.put(kind, "ADDED", body, now=self._clock.monotonic()), Lane.REFRESH)
        except Missing:
            resource = listing.RESOURCES[kind]
            raise Missing(
                f"the API server does not know {resource.plural}.{resource.group}",
                path="CustomResourceDefinition",
                remedy="apply crds/ or install the chart with crds.install",
            ) from None
        self._mirror.end_list(kind)

    async def _listen(self) -> None:
        """Run kopf: watches, reconnects, bookmarks."""
        registry = kopf.OperatorRegistry()
        resources = {
            kind: (place.group, place.version, place.plural)
            for kind, place in listing.RESOURCES.items()
            if kind in self._kinds()
        }
        ear.register(registry, self, resources)
        habits.log_in(registry, server=self._access.server, namespace=self._settings.namespace, session=self._session)
        scope: dict[str, Any] = (
            {"namespaces": [self._settings.namespace]} if self._settings.namespace else {"clusterwide": True}
        )
        older = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=habits.settings(),
            standalone=True,
            identity=OWN_NAME,
            stop_flag=self._deaf,
            **scope,
        )
        self.take_signals()  # kopf has taken them for itself
        self._watching = True
        try:
            await kopf.run_tasks(tasks, ignored=older)
        except Exception as error:  # noqa: BLE001  # whatever ended the watches: without them the process is useless
            _log.error("watches_failed", exc_info=error)
        finally:
            self._watching = False
        if not self._deaf.is_set():
            self._failed = True
            self.stop()

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._access.tls or True)
        token = habits.middleware(lambda: self._access.token().reveal().decode())
        return aiohttp.ClientSession(connector=connector, middlewares=[token])

    def _watch_problem(self) -> str:
        return "" if self._watching else "nothing is watched yet"

    def heard(self, kind: str, event: str | None, body: Mapping[str, Any]) -> None:
        """Take one event from kopf."""
        woken = self._mirror.put(kind, event, body, now=self._clock.monotonic())
        self._wake_all(woken, Lane.DRIFT if kind == mirror.SECRET else Lane.USER)

    def _wake_all(self, keys_to_wake: set[Key], lane: Lane) -> None:
        for key in keys_to_wake:
            if self._house is not None and lane is not Lane.REFRESH:
                self._house.memory.release_hold(self._mirror.uid(key))
            if key.kind in (mirror.EXTERNAL_SECRET, mirror.STORE, mirror.CLUSTER_STORE):
                self._agenda.wake(key, lane)

    def _wake_in(self, key: Key, seconds: float) -> None:
        self._agenda.at(key, self._clock.now() + seconds, Lane.USER)

    def _note_status(self, key: Key, status: dict[str, Any]) -> None:
        self._wake_all(self._mirror.note_status(key, status), Lane.USER)

    def _release_orphans(self) -> None:
        assert self._house is not None
        release.orphans(self._house, self._mirror.uids(mirror.EXTERNAL_SECRET))

    # ------------------------------------------------------------------------------------------------------- looking

    async def _look(self, key: Key) -> float | None:
        """Send a key to its flow."""
        house = self._house
        assert house is not None
        with correlation.scope():
            if key.kind == mirror.EXTERNAL_SECRET:
                return await sync.sync(house, key)
            if key.kind in (mirror.STORE, mirror.CLUSTER_STORE):
                return await check.check(house, key)
            if key.kind.startswith(rollout.WORKLOAD):
                return await rollout.restart(house, key)
            return await self._settle()

    async def _settle(self) -> float:
        """Find deletions that were lost in a watch gap: ask about what a re-list did not name."""
        for keys_left in self._mirror.settle(now=self._clock.monotonic()).values():
            for key in keys_left:
                if await listing.one(self._api, key) is None:
                    self._wake_all(self._mirror.drop(key), Lane.DRIFT)
        return self._clock.now() + SETTLE_EVERY

    async def _figures(self) -> None:
        while True:
            for lane, depth in self._agenda.depths().items():
                self._metrics.agenda_depth_set(lane.name.lower(), depth)
            self._metrics.agenda_lag_set(self._agenda.lag())
            await self._clock.sleep(1.0)
