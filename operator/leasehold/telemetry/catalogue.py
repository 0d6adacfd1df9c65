"""Every metric by name, type, labels and meaning: the reference page and the registry are both made from it.

The names and labels of External Secrets Operator are kept where it has them, so that dashboards and alerts written for
it go on working; what it cannot tell (quantiles, leases, lag) has names of ours.
"""

from __future__ import annotations

from dataclasses import dataclass

REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds. 0.2 is the promise for one backend read, so that its share can be asked for exactly."""
SYNC_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_OBJECT = ("namespace", "name")


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric."""

    name: str
    kind: str
    """gauge | counter | histogram."""
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds in seconds, for a histogram."""

    @property
    def own(self) -> bool:
        """True where the name is ours, False where it is External Secrets Operator's."""
        return self.name.startswith("leasehold_")


def _object_specs(prefix: str, kind: str) -> tuple[Spec, ...]:
    return (
        Spec(
            f"{prefix}_status_condition",
            "gauge",
            f"1 for the status that a condition of the {kind} has, 0 for the opposite one.",
            (*_OBJECT, "condition", "status"),
        ),
        Spec(f"{prefix}_reconcile_duration", "gauge", f"Nanoseconds that the last pass of the {kind} took.", _OBJECT),
    )


CATALOGUE: tuple[Spec, ...] = (
    Spec("externalsecret_sync_calls_total", "counter", "Passes of the ExternalSecret.", _OBJECT),
    Spec("externalsecret_sync_calls_error", "counter", "Passes of the ExternalSecret that failed.", _OBJECT),
    *_object_specs("externalsecret", "ExternalSecret"),
    *_object_specs("secretstore", "SecretStore"),
    *_object_specs("clustersecretstore", "ClusterSecretStore"),
    Spec(
        "externalsecret_provider_api_calls_count",
        "counter",
        "Calls to a backend; status is success or error.",
        ("provider", "call", "status"),
    ),
    Spec(
        "leasehold_lease_expiry_timestamp_seconds",
        "gauge",
        "When the lease of a source ends unless it is renewed, in seconds since the epoch.",
        (*_OBJECT, "source"),
    ),
    Spec(
        "leasehold_last_refresh_timestamp_seconds",
        "gauge",
        "When the ExternalSecret was last refreshed with success, in seconds since the epoch.",
        _OBJECT,
    ),
    Spec("leasehold_renewals_total", "counter", "Renewals of leases and of their owners, by result.", ("result",)),
    Spec("leasehold_mints_total", "counter", "Leased credentials issued, by reason.", ("reason",)),
    Spec("leasehold_rollouts_total", "counter", "Restarts of workloads that have ended, by result.", ("result",)),
    Spec(
        "leasehold_sync_duration_seconds",
        "histogram",
        "Time that one pass took, by kind of object and by result: ok, or the class of the error.",
        ("kind", "result"),
        SYNC_BUCKETS,
    ),
    Spec(
        "leasehold_backend_request_duration_seconds",
        "histogram",
        "Time that one request to a backend took; status is success or error (no such secret: success).",
        ("provider", "call", "status"),
        REQUEST_BUCKETS,
    ),
    Spec(
        "leasehold_kube_request_duration_seconds",
        "histogram",
        "Time that one request to the API server took, watches aside; code is the HTTP status, or error without one.",
        ("verb", "resource", "code"),
        REQUEST_BUCKETS,
    ),
    Spec("leasehold_agenda_depth", "gauge", "Objects that are due and wait for a worker, by lane.", ("lane",)),
    Spec("leasehold_agenda_lag_seconds", "gauge", "For how long the object that waits longest has been due."),
    Spec("leasehold_loop_lag_seconds", "gauge", "How late the event loop last woke a sleeper."),
    Spec("leasehold_events_dropped_total", "counter", "Kubernetes Events that were not sent."),
    Spec("leasehold_build_info", "gauge", "Always 1; the labels say what is running.", ("version", "python")),
)
