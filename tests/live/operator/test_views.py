"""What a user looks at: columns, events that explain, the pages of the operator."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from testbed.operator import Operator
from tests.live.operator.conftest import MakeOperator
from tests.live.operator.lender import Lender
from tests.live.operator.tenant import Tenant
from tests.live.operator.traces import lines, metric


def columns(table: str) -> list[Mapping[str, str]]:
    """Return the rows of what kubectl printed, by the heads of its columns."""
    head, *rows = table.rstrip("\n").split("\n")
    heads = list(re.finditer(r"\S+(?: \S+)*", head))
    starts = [each.start() for each in heads]
    ends = [*starts[1:], None]
    return [
        {each[0]: row[start:end].strip() for each, start, end in zip(heads, starts, ends, strict=True)} for row in rows
    ]


@pytest.mark.usefixtures("operator")
def test_what_kubectl_get_shows(tenant: Tenant, lender: Lender) -> None:
    kubectl, namespace = tenant.cluster.plane.kubectl, tenant.namespace
    tenant.want("static", secretStoreRef={"name": "vault", "kind": "SecretStore"}, refreshInterval="1h0m0s")
    tenant.want("broken", dataFrom=[{"extract": {"key": "nope"}}])
    lender.want()
    lender.values()
    tenant.until_ready("static")
    tenant.until_failed("broken")
    rows = {row["NAME"]: row for row in columns(kubectl.run("get", "es", "-n", namespace))}
    heads = "NAME STORETYPE STORE REFRESH INTERVAL STATUS READY LAST SYNC EXPIRES RENEWS ROLLOUT"
    assert " ".join(rows["static"]) == heads
    static, broken, leased = rows["static"], rows["broken"], rows["app"]
    assert {name: static[name] for name in ("STORETYPE", "STORE", "REFRESH INTERVAL", "STATUS", "READY")} == {
        "STORETYPE": "SecretStore",
        "STORE": "vault",
        "REFRESH INTERVAL": "1h0m0s",
        "STATUS": "SecretSynced",
        "READY": "True",
    }
    assert static["EXPIRES"] == static["RENEWS"] == static["ROLLOUT"] == ""
    assert (broken["STATUS"], broken["READY"]) == ("SecretSyncedError", "False")
    status = tenant.status()
    assert (leased["EXPIRES"], leased["RENEWS"]) == (status["expires"], status["renews"])
    store = columns(kubectl.run("get", "ss", "vault", "-n", namespace))[0]
    assert (store["STATUS"], store["CAPABILITIES"], store["READY"]) == ("Valid", "ReadWrite", "True")


def test_what_kubectl_describe_explains(tenant: Tenant, lender: Lender, make_operator: MakeOperator) -> None:
    make_operator().start()
    kubectl, namespace = tenant.cluster.plane.kubectl, tenant.namespace
    tenant.want("static")
    lender.want()
    tenant.until_told("static", "Created")
    tenant.until_told("app", "LeaseMinted")
    tenant.until_told("vault", "Valid")
    assert "Secret static created" in kubectl.run("describe", "es", "static", "-n", namespace)
    text = kubectl.run("describe", "es", "app", "-n", namespace)
    assert f"a credential was issued ({lender.path}, LeaseMissing)" in text
    assert "store validated" in kubectl.run("describe", "ss", "vault", "-n", namespace)


def page(operator: Operator, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(operator.live_url + path, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_pages_after_a_sync(tenant: Tenant, operator: Operator) -> None:
    tenant.want()
    tenant.until_ready()
    tenant.want("broken", dataFrom=[{"extract": {"key": "nope"}}])
    tenant.until_failed("broken")
    for path in ("/healthz", "/livez", "/readyz"):
        assert page(operator, path)[0] == 200
    here = {"namespace": tenant.namespace, "name": "app"}
    there = {**here, "name": "broken"}
    ready = {"condition": "Ready", "status": "True"}
    assert (metric(operator, "externalsecret_sync_calls_total", **here) or 0) >= 1
    assert metric(operator, "externalsecret_sync_calls_error", **here) == 0
    assert (metric(operator, "externalsecret_sync_calls_error", **there) or 0) >= 1
    assert metric(operator, "externalsecret_status_condition", **here, **ready) == 1
    assert metric(operator, "externalsecret_status_condition", **there, **ready) == 0
    assert (metric(operator, "externalsecret_reconcile_duration", **here) or 0) > 0
    assert metric(operator, "secretstore_status_condition", namespace=tenant.namespace, name="vault", **ready) == 1
    assert (metric(operator, "secretstore_reconcile_duration", namespace=tenant.namespace, name="vault") or 0) > 0
    call = {"provider": "HashiCorp/Vault", "call": "ReadSecretData", "status": "success"}
    assert (metric(operator, "externalsecret_provider_api_calls_count", **call) or 0) >= 1
    create = {"verb": "create", "resource": "secrets", "code": "201"}
    assert (metric(operator, "leasehold_kube_request_duration_seconds_count", **create) or 0) >= 1
    assert (metric(operator, "leasehold_last_refresh_timestamp_seconds", **here) or 0) > 0
    assert metric(operator, "leasehold_agenda_lag_seconds") is not None
    # what is gone is shown no longer
    tenant.cluster.remove(tenant.spot("broken"))
    tenant.until_gone(tenant.spot("broken"))
    tenant.want("later")
    tenant.until_ready("later")
    assert metric(operator, "externalsecret_status_condition", **there, **ready) is None


def test_every_series_is_in_the_reference(tenant: Tenant, operator: Operator) -> None:
    from leasehold.telemetry.catalogue import CATALOGUE

    tenant.want()
    tenant.until_ready()
    names = {spec.name.removesuffix("_total") for spec in CATALOGUE}
    told = {family.name.removesuffix("_total") for family in text_string_to_metric_families(operator.metrics())}
    assert {name for name in told if not name.startswith(("process_", "python_"))} <= names


def test_the_log_joins_event_and_request(tenant: Tenant, operator: Operator) -> None:
    tenant.mount.destroy("app")
    tenant.want()
    tenant.until_told("app", "UpdateFailed")
    told = [line for line in lines(operator, "event") if line["object"] == f"ExternalSecret {tenant.namespace}/app"]
    assert told
    assert all(line["reason"] == "UpdateFailed" and line["correlation"] for line in told)
    # the same id stands in the API server's audit log, at the write of the status
    text = tenant.cluster.plane.audit_log.read_text(encoding="utf-8")
    assert f'"auditID":"{told[0]["correlation"]}"' in text
