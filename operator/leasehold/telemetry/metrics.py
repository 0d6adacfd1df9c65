"""The metrics, as small typed functions: nobody outside this room sees a prometheus object.

Names and meanings stand in `catalogue`. Labels are names, words and codes; a caller passes no free text, since each
distinct one would be a series for ever.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from leasehold.domain.facts import Key
from leasehold.telemetry.catalogue import CATALOGUE
from leasehold.telemetry.series import ObjectSeries

OK = "ok"
"""The result of a pass that did not fail; otherwise it is the class of the error."""
_PREFIXES = MappingProxyType(
    {"ExternalSecret": "externalsecret", "SecretStore": "secretstore", "ClusterSecretStore": "clustersecretstore"}
)
_SPECS = MappingProxyType({spec.name: spec for spec in CATALOGUE})


@dataclass(frozen=True, slots=True)
class _ObjectMetrics:
    """What every kind with a status has."""

    conditions: ObjectSeries
    duration: ObjectSeries


@cache
def _condition_series(statuses: tuple[tuple[str, str], ...]) -> Mapping[tuple[str, ...], float]:
    """Return the series of a set of conditions; cached, since tens of thousands of objects have one and the same."""
    values: dict[tuple[str, ...], float] = {}
    for condition, status in statuses:
        values |= {(condition, "True"): 0.0, (condition, "False"): 0.0, (condition, status): 1.0}
    return MappingProxyType(values)


class Metrics:
    """One registry and everything that is counted in it."""

    def __init__(self, *, version: str) -> None:
        """Take the version of Leasehold, for the build information."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it takes nothing and returns nothing
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._objects = {
            kind: _ObjectMetrics(
                self._series(f"{prefix}_status_condition"), self._series(f"{prefix}_reconcile_duration")
            )
            for kind, prefix in _PREFIXES.items()
        }
        self._passes = self._series("externalsecret_sync_calls_total")
        self._failures = self._series("externalsecret_sync_calls_error")
        self._expiries = self._series("leasehold_lease_expiry_timestamp_seconds")
        self._refreshes = self._series("leasehold_last_refresh_timestamp_seconds")
        self._calls = self._series("externalsecret_provider_api_calls_count")
        self._call_counts: dict[tuple[str, str], dict[tuple[str, ...], float]] = {}
        self._renewals = self._counter("leasehold_renewals_total")
        self._mints = self._counter("leasehold_mints_total")
        self._rollouts = self._counter("leasehold_rollouts_total")
        self._events_dropped = self._counter("leasehold_events_dropped_total")
        self._sync_seconds = self._histogram("leasehold_sync_duration_seconds")
        self._backend_seconds = self._histogram("leasehold_backend_request_duration_seconds")
        self._kube_seconds = self._histogram("leasehold_kube_request_duration_seconds")
        self._agenda_depth = self._gauge("leasehold_agenda_depth")
        self._agenda_lag = self._gauge("leasehold_agenda_lag_seconds")
        self._loop_lag = self._gauge("leasehold_loop_lag_seconds")
        self._gauge("leasehold_build_info").labels(version, platform.python_version()).set(1)

    # ------------------------------------------------------------------------------------------------ objects

    def pass_ended(self, key: Key, *, seconds: float, result: str = OK) -> None:
        """Count one pass of an object: how long it took, and ``ok`` or the class of its error."""
        self._sync_seconds.labels(key.kind, result).observe(seconds)
        if (held := self._objects.get(key.kind)) is None:
            return
        held.duration.set(key, seconds * 1e9)
        if key.kind == "ExternalSecret":
            self._passes.add(key, 1)
            self._failures.add(key, 0 if result == OK else 1)

    def conditions_set(self, key: Key, statuses: Mapping[str, str]) -> None:
        """Show the object's conditions (type -> True, False, Unknown), and only these."""
        if (held := self._objects.get(key.kind)) is None:
            return
        held.conditions.replace(key, _condition_series(tuple(statuses.items())))

    def refreshed(self, key: Key, at: float) -> None:
        """Note a refresh with success (seconds since the epoch)."""
        self._refreshes.set(key, at)

    def leases_set(self, key: Key, expiries: Mapping[str, float]) -> None:
        """Show when the leases of the object end (source -> seconds since the epoch), and only these."""
        self._expiries.replace(key, {(source,): expires for source, expires in expiries.items()})

    def forget(self, key: Key) -> None:
        """Remove every series of an object that is gone."""
        if (held := self._objects.get(key.kind)) is not None:
            held.conditions.forget(key)
            held.duration.forget(key)
        if key.kind == "ExternalSecret":
            for series in (self._passes, self._failures, self._expiries, self._refreshes):
                series.forget(key)

    # ----------------------------------------------------------------------------------------------- incidents

    def lease_renewed(self, result: str) -> None:
        """Count a renewal of a lease or its owner, by outcome or class of the error."""
        self._renewals.labels(result).inc()

    def lease_minted(self, reason: str) -> None:
        """Count a credential issued, by the reason (domain.reasons.Why)."""
        self._mints.labels(reason).inc()

    def rollout_ended(self, result: str) -> None:
        """Count a workload's restart that has ended: complete or failed."""
        self._rollouts.labels(result).inc()

    def event_dropped(self) -> None:
        """Count a Kubernetes Event that was not sent."""
        self._events_dropped.inc()

    def backend_called(self, provider: str, call: str, status: str, seconds: float) -> None:
        """Count one request to a backend; ``status`` is success or error. Shaped as providers observe."""
        self._backend_seconds.labels(provider, call, status).observe(seconds)
        counts = self._call_counts.setdefault((provider, call), {("success",): 0.0, ("error",): 0.0})
        counts[(status,)] += 1
        self._calls.replace((provider, call), counts)

    def kube_called(self, *, verb: str, resource: str, code: str, seconds: float) -> None:
        """Count one request to the API server; ``resource`` is the plural, with /status for the subresource."""
        self._kube_seconds.labels(verb, resource, code).observe(seconds)

    # -------------------------------------------------------------------------------------------------- health

    def agenda_depth_set(self, lane: str, depth: int) -> None:
        """Show how many due objects wait in a lane."""
        self._agenda_depth.labels(lane).set(depth)

    def agenda_lag_set(self, seconds: float) -> None:
        """Show for how long the longest waiting object has been due."""
        self._agenda_lag.set(seconds)

    def loop_lag_set(self, seconds: float) -> None:
        """Show how late the event loop is."""
        self._loop_lag.set(seconds)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the page for an Accept header, and its content type. May run in a thread beside the loop."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    # ------------------------------------------------------------------------------------------------ families

    def _series(self, name: str) -> ObjectSeries:
        spec = _SPECS[name]
        series = ObjectSeries(spec, kind=spec.kind)
        self._registry.register(series)
        return series

    def _counter(self, name: str) -> Counter:
        spec = _SPECS[name]
        return Counter(spec.name, spec.help, spec.labels, registry=self._registry)

    def _gauge(self, name: str) -> Gauge:
        spec = _SPECS[name]
        return Gauge(spec.name, spec.help, spec.labels, registry=self._registry)

    def _histogram(self, name: str) -> Histogram:
        spec = _SPECS[name]
        return Histogram(spec.name, spec.help, spec.labels, registry=self._registry, buckets=spec.buckets)
