"""The names that dashboards were built on, and the shape of all others."""

import re

import pytest

from leasehold.telemetry.catalogue import CATALOGUE, Spec

ESO_NAMES = {
    "externalsecret_sync_calls_total": {"name", "namespace"},
    "externalsecret_sync_calls_error": {"name", "namespace"},
    "externalsecret_status_condition": {"name", "namespace", "condition", "status"},
    "externalsecret_reconcile_duration": {"name", "namespace"},
    "externalsecret_provider_api_calls_count": {"provider", "call", "status"},
    "secretstore_status_condition": {"name", "namespace", "condition", "status"},
    "secretstore_reconcile_duration": {"name", "namespace"},
    "clustersecretstore_status_condition": {"name", "namespace", "condition", "status"},
    "clustersecretstore_reconcile_duration": {"name", "namespace"},
}


def test_names_of_external_secrets_operator_are_kept() -> None:
    assert {spec.name: set(spec.labels) for spec in CATALOGUE if not spec.own} == ESO_NAMES


@pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.name)
def test_each_is_well_formed(spec: Spec) -> None:
    assert spec.kind in {"gauge", "counter", "histogram"}
    assert spec.help.endswith(".")
    assert bool(spec.buckets) == (spec.kind == "histogram")
    if spec.own:
        assert re.fullmatch(r"leasehold_[a-z_]+?(_seconds|_total|_info|_depth)", spec.name)
        assert spec.name.endswith("_total") == (spec.kind == "counter")


def test_names_are_unique() -> None:
    assert len({spec.name for spec in CATALOGUE}) == len(CATALOGUE)


def test_the_promise_for_a_backend_read_has_a_bucket() -> None:
    (spec,) = (spec for spec in CATALOGUE if spec.name == "leasehold_backend_request_duration_seconds")
    assert 0.2 in spec.buckets
