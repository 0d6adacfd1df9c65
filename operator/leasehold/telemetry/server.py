"""The two small HTTP servers: metrics for Prometheus, health for the kubelet.

Health speaks of the operator only. A backend that is down makes conditions False; it must never make a kubelet restart
us or take us out of service. Checks are handed in by `app`; this room does not know what they look at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

import orjson
from aiohttp import web

from leasehold.domain.errors import Misconfigured
from leasehold.telemetry.address import Address
from leasehold.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be so. ``problem`` returns "" while it is, and otherwise says in a clause what is not."""

    name: str
    problem: Callable[[], str]


class Server:
    """Listens on up to two addresses (one, if both are the same) from `start` to `stop`."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        live: Sequence[Check],
        ready: Sequence[Check],
        metrics_addr: Address | None,
        live_addr: Address | None,
    ) -> None:
        """Take what is shown and where; an address of None does not listen. Readiness asks ``live`` and ``ready``."""
        self._metrics = metrics
        self._live, self._ready = tuple(live), (*live, *ready)
        self._roles = {"--metrics-addr": metrics_addr, "--live-addr": live_addr}
        self._runners: list[web.AppRunner] = []
        self._bound: dict[str, Address] = {}
        # Rendering tens of thousands of series takes a second: beside the loop, and one page at a time.
        self._renderer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")

    @property
    def addresses(self) -> Mapping[str, Address]:
        """Return what is listened on, by flag: the port is the kernel's choice where 0 was asked for."""
        return MappingProxyType(self._bound)

    async def start(self) -> None:
        """Listen.

        Raises:
            Misconfigured: an address is taken or not ours; nothing is left listening.
        """
        groups = [[flag] for flag, address in self._roles.items() if address is not None]
        first, *others = set(self._roles.values())
        if first is not None and first.port and not others:
            groups = [list(self._roles)]
        for flags in groups:
            await self._listen(flags)

    async def stop(self) -> None:
        """Stop listening; requests under way may end."""
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        self._bound.clear()
        self._renderer.shutdown(wait=False, cancel_futures=True)

    async def _listen(self, flags: Sequence[str]) -> None:
        address = self._roles[flags[0]]
        assert address is not None
        app = web.Application()
        for flag in flags:
            app.add_routes(self._metrics_routes() if flag == "--metrics-addr" else self._health_routes())
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        try:
            await web.TCPSite(runner, address.host or None, address.port).start()
        except OSError:
            await self.stop()
            raise Misconfigured(
                f"{' and '.join(flags)}: cannot listen on {address}", remedy="name a free address of this machine, or 0"
            ) from None
        port = int(runner.addresses[0][1])
        self._bound |= {flag: Address(address.host, port) for flag in flags}

    def _metrics_routes(self) -> list[web.RouteDef]:
        return [web.get("/metrics", self._show_metrics)]

    def _health_routes(self) -> list[web.RouteDef]:
        return [
            web.get("/healthz", self._show_live),
            web.get("/livez", self._show_live),
            web.get("/readyz", self._show_ready),
        ]

    async def _show_metrics(self, request: web.Request) -> web.Response:
        accept = request.headers.get("Accept", "")
        loop = asyncio.get_running_loop()
        page, content_type = await loop.run_in_executor(self._renderer, self._metrics.render, accept)
        return web.Response(body=page, headers={"Content-Type": content_type})

    async def _show_live(self, _: web.Request) -> web.Response:
        return _answer(self._live)

    async def _show_ready(self, _: web.Request) -> web.Response:
        return _answer(self._ready)


def _answer(checks: Sequence[Check]) -> web.Response:
    """Ask every check and answer 200 or 503, with each result: a probe's log shows the reason."""
    results = [
        {"name": check.name, "status": "fail" if problem else "pass", "reason": problem}
        for check in checks
        for problem in (check.problem(),)
    ]
    failed = any(result["reason"] for result in results)
    body = orjson.dumps({"status": "fail" if failed else "pass", "checks": results})
    return web.Response(body=body, status=503 if failed else 200, content_type="application/json")
