"""The composition root: the one place that knows every room, builds the house, runs it and takes it down again."""

from __future__ import annotations

import asyncio
import signal
from typing import Any, cast

import aiohttp
import kopf
import structlog

from leasehold import __version__
from leasehold.cluster import access, gist, keys, listing
from leasehold.cluster.api import KubeApi
from leasehold.cluster.credentials import KubeCredentials, Tokens
from leasehold.cluster.events import KubeEvents
from leasehold.cluster.mirror import Mirror
from leasehold.cluster.objects import KubeObjects
from leasehold.cluster.records import KubeRecords
from leasehold.cluster.secrets import KubeSecrets
from leasehold.cluster.watch import SecretWatch
from leasehold.cluster.workloads import KubeWorkloads
from leasehold.domain.errors import DomainError
from leasehold.domain.ports import Credentials, Identity, StoreRef
from leasehold.flows.house import House, Rules
from leasehold.handlers import ear, habits
from leasehold.handlers.desk import Desk
from leasehold.handlers.watches import Watches
from leasehold.providers.registry import Habits, OperatorIdentity, Registry
from leasehold.schedule.agenda import Agenda
from leasehold.schedule.clock import SystemClock
from leasehold.schedule.runner import Runner
from leasehold.settings import Settings
from leasehold.telemetry import correlation
from leasehold.telemetry.lag import LoopLag
from leasehold.telemetry.metrics import Metrics
from leasehold.telemetry.server import Check, Server

OWN_NAME = cast("Any", "leasehold")
"""kopf's name of this process: given, because kopf would ask the passwd file, which knows no arbitrary uid."""
KOPF_PATIENCE = 3.0
"""Seconds that the watches may take to end; what they hold is nothing that could be lost."""
UNHEARD = 5.0
"""Seconds between two tries to hear the first lists."""
_log = structlog.get_logger(__name__)


def run(settings: Settings) -> int:
    """Run the operator until SIGTERM or SIGINT; return the exit code."""
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
        self._desk = Desk(self._mirror, self._agenda, self._api, self._clock, namespace=settings.namespace)
        self._watches = Watches(
            {listing.RESOURCES[kind].plural: kind for kind in self._desk.kinds},
            self._clock.monotonic,
            listed=self._desk.listed,
        )
        self._runner = Runner(self._agenda, self._desk.look, workers=settings.concurrent, clock=self._clock)
        self._lag = LoopLag(self._clock, report=self._metrics.loop_lag_set)
        self._stop, self._deaf = asyncio.Event(), asyncio.Event()
        self._failed = False
        self._kopf: asyncio.Task[None] | None = None
        self._problem = "the first lists are not heard yet"
        self._server = self._make_server()

    def _make_server(self) -> Server:
        return Server(
            self._metrics,
            live=[Check("loop", self._lag.problem)],
            ready=[Check("lists", lambda: self._problem), Check("watches", self._watches.problem)],
            metrics_addr=self._settings.metrics_addr,
            live_addr=self._settings.live_addr,
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
            self._desk.house = await self._open()
            versions = await self._hear_all()
            secrets = SecretWatch(
                self._api,
                self._clock,
                namespace=self._settings.namespace,
                heard=self._desk.heard,
                fortune=self._watches,
            )
            group.create_task(secrets.run(versions[gist.SECRET]), name="secrets")
            group.create_task(self._events.run(), name="events")
            group.create_task(self._runner.run(), name="runner")
            group.create_task(self._figures(), name="figures")
            self._kopf = group.create_task(self._listen(), name="kopf")
            self._desk.open()
            self._problem = ""

    async def _open(self) -> House:
        """Read what only the API server has: the fingerprint key and the lease records."""
        settings = self._settings
        key = await self._patiently(keys.fingerprint_key, self._api, settings.operator_namespace)
        await self._patiently(self._records.load)
        return House(
            view=self._mirror,
            secrets=KubeSecrets(self._api),
            objects=KubeObjects(self._api, noted=self._mirror.note_version),
            workloads=KubeWorkloads(self._api),
            records=self._records,
            events=self._events,
            registry=self._registry,
            signals=self._metrics,
            clock=self._clock,
            fingerprint_key=key,
            wake=self._desk.wake_in,
            note_status=self._desk.note_status,
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

    async def _hear_all(self) -> dict[str, str]:
        """Fill the mirror before the first pass: only then is what is absent really missing.

        Return the resourceVersion of each kind's list.
        """
        versions = {kind: await self._patiently(self._desk.hear_list, kind) for kind in self._desk.kinds}
        for kind, version in versions.items():
            self._watches.go_on(listing.RESOURCES[kind].plural, version)
        return versions

    async def _listen(self) -> None:
        """Run kopf: watches, reconnects, bookmarks."""
        registry = kopf.OperatorRegistry()
        resources = {
            kind: (place.group, place.version, place.plural)
            for kind, place in listing.RESOURCES.items()
            if kind in self._desk.kinds and kind != gist.SECRET
        }
        ear.register(registry, self._desk, resources)
        habits.log_in(
            registry,
            server=self._access.server,
            namespace=self._settings.namespace,
            session=self._session,
            clock=self._clock,
        )
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
        try:
            await kopf.run_tasks(tasks, ignored=older)
        except Exception as error:  # noqa: BLE001  # whatever ended the watches: without them the process is useless
            _log.error("watches_failed", exc_info=error)
        if not self._deaf.is_set():
            self._failed = True
            self.stop()

    def _session(self) -> aiohttp.ClientSession:
        self._access.renew()
        connector = aiohttp.TCPConnector(limit=0, ssl=self._access.tls or True)
        prepare = habits.middleware(lambda: self._access.token().reveal().decode(), self._watches)
        return aiohttp.ClientSession(connector=connector, middlewares=[prepare])

    async def _figures(self) -> None:
        while True:
            for lane, depth in self._agenda.depths().items():
                self._metrics.agenda_depth_set(lane.name.lower(), depth)
            self._metrics.agenda_lag_set(self._agenda.lag())
            await self._clock.sleep(1.0)
