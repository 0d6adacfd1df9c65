"""What is counted shows on the page, and goes with its object."""

from collections.abc import Callable

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from leasehold.domain.facts import Key
from leasehold.telemetry.catalogue import CATALOGUE
from leasehold.telemetry.metrics import Metrics

KEY = Key("ExternalSecret", "a", "b")
STORE = Key("SecretStore", "a", "vault")
CLUSTER_STORE = Key("ClusterSecretStore", "", "vault")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(version="1.2.3")


def _samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = parse(metrics.render()[0].decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def _value(metrics: Metrics, family: str, /, **labels: str) -> float | None:
    return _samples(metrics).get((family, frozenset(labels.items())))


def test_a_pass_counts_with_its_result(metrics: Metrics) -> None:
    metrics.pass_ended(KEY, seconds=0.5)
    assert _value(metrics, "externalsecret_sync_calls_error", namespace="a", name="b") == 0
    metrics.pass_ended(KEY, seconds=0.25, result="Denied")
    assert _value(metrics, "externalsecret_sync_calls_total", namespace="a", name="b") == 2
    assert _value(metrics, "externalsecret_sync_calls_error", namespace="a", name="b") == 1
    assert _value(metrics, "externalsecret_reconcile_duration", namespace="a", name="b") == 0.25e9
    assert _value(metrics, "leasehold_sync_duration_seconds_count", kind="ExternalSecret", result="Denied") == 1


def test_a_store_has_no_sync_calls(metrics: Metrics) -> None:
    metrics.pass_ended(CLUSTER_STORE, seconds=1.0)
    assert _value(metrics, "clustersecretstore_reconcile_duration", namespace="", name="vault") == 1e9
    assert not [name for name, _ in _samples(metrics) if name.startswith("externalsecret_sync")]


def test_a_kind_without_status_is_only_timed(metrics: Metrics) -> None:
    key = Key("VaultDynamicSecret", "a", "b")
    metrics.pass_ended(key, seconds=1.0)
    metrics.conditions_set(key, {"Ready": "True"})
    metrics.forget(key)
    assert _value(metrics, "leasehold_sync_duration_seconds_count", kind="VaultDynamicSecret", result="ok") == 1


def test_conditions_show_both_sides_and_only_what_is(metrics: Metrics) -> None:
    labels = {"namespace": "a", "name": "b"}
    metrics.conditions_set(KEY, {"Ready": "True", "Deleted": "True"})
    metrics.conditions_set(KEY, {"Ready": "False"})
    name = "externalsecret_status_condition"
    assert _value(metrics, name, condition="Ready", status="False", **labels) == 1
    assert _value(metrics, name, condition="Ready", status="True", **labels) == 0
    assert _value(metrics, name, condition="Deleted", status="True", **labels) is None


def test_leases_show_only_what_is_held(metrics: Metrics) -> None:
    metrics.leases_set(KEY, {"dataFrom[0]": 10.0, "data[1]": 20.0})
    metrics.leases_set(KEY, {"data[1]": 30.0})
    name = "leasehold_lease_expiry_timestamp_seconds"
    assert _value(metrics, name, namespace="a", name="b", source="data[1]") == 30.0
    assert _value(metrics, name, namespace="a", name="b", source="dataFrom[0]") is None


@pytest.mark.parametrize("key", [KEY, STORE, CLUSTER_STORE], ids=lambda key: key.kind)
def test_an_object_that_goes_takes_its_series_along(metrics: Metrics, key: Key) -> None:
    before = set(_samples(metrics))
    other = Key(key.kind, key.namespace, "other")
    for one in (key, other):
        metrics.pass_ended(one, seconds=0.1)
        metrics.conditions_set(one, {"Ready": "True"})
        if key == KEY:
            metrics.refreshed(one, 1.0)
            metrics.leases_set(one, {"dataFrom[0]": 1.0})
    metrics.forget(key)
    left = {labels for _, labels in set(_samples(metrics)) - before}
    assert not [labels for labels in left if ("name", key.name) in labels]
    assert [labels for labels in left if ("name", "other") in labels]


def test_a_store_that_goes_leaves_an_external_secret_of_its_name_alone(metrics: Metrics) -> None:
    namesake = Key("ExternalSecret", STORE.namespace, STORE.name)
    metrics.pass_ended(namesake, seconds=0.1)
    metrics.forget(STORE)
    assert _value(metrics, "externalsecret_sync_calls_total", namespace="a", name="vault") == 1


def test_a_backend_call_counts_under_both_names(metrics: Metrics) -> None:
    metrics.backend_called("HashiCorp/Vault", "ReadSecretData", "error", 0.15)
    metrics.backend_called("HashiCorp/Vault", "ReadSecretData", "success", 0.15)
    labels = {"provider": "HashiCorp/Vault", "call": "ReadSecretData"}
    assert _value(metrics, "externalsecret_provider_api_calls_count", status="error", **labels) == 1
    assert _value(metrics, "externalsecret_provider_api_calls_count", status="success", **labels) == 1
    histogram = "leasehold_backend_request_duration_seconds"
    assert _value(metrics, histogram + "_bucket", status="success", le="0.2", **labels) == 1
    assert _value(metrics, histogram + "_bucket", status="success", le="0.1", **labels) == 0


@pytest.mark.parametrize(
    ("act", "name", "labels", "wanted"),
    [
        (lambda m: m.lease_renewed("alive"), "leasehold_renewals_total", {"result": "alive"}, 1),
        (lambda m: m.lease_minted("LeaseRotation"), "leasehold_mints_total", {"reason": "LeaseRotation"}, 1),
        (lambda m: m.rollout_ended("complete"), "leasehold_rollouts_total", {"result": "complete"}, 1),
        (lambda m: m.event_dropped(), "leasehold_events_dropped_total", {}, 1),
        (lambda m: m.agenda_depth_set("now", 7), "leasehold_agenda_depth", {"lane": "now"}, 7),
        (lambda m: m.agenda_lag_set(1.5), "leasehold_agenda_lag_seconds", {}, 1.5),
        (lambda m: m.loop_lag_set(0.5), "leasehold_loop_lag_seconds", {}, 0.5),
        (
            lambda m: m.kube_called(verb="patch", resource="secrets", code="200", seconds=0.1),
            "leasehold_kube_request_duration_seconds_count",
            {"verb": "patch", "resource": "secrets", "code": "200"},
            1,
        ),
    ],
)
def test_incidents_and_health(
    metrics: Metrics, act: Callable[[Metrics], None], name: str, labels: dict[str, str], wanted: float
) -> None:
    act(metrics)
    assert _value(metrics, name, **labels) == wanted


def test_the_page_has_the_whole_catalogue_and_the_process(metrics: Metrics) -> None:
    page = metrics.render()[0].decode()
    for spec in CATALOGUE:
        assert f"# HELP {spec.name} " in page
    assert "process_resident_memory_bytes" in page
    assert 'version="1.2.3"' in page
    assert "_created" not in page


def test_openmetrics_is_well_formed(metrics: Metrics) -> None:
    metrics.pass_ended(KEY, seconds=0.5, result="Bug")
    metrics.backend_called("p", "c", "success", 0.15)
    page, content_type = metrics.render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert {family.name for family in parse_openmetrics(page.decode())} >= {"externalsecret_sync_calls_error"}
