"""Series of objects come and go as a whole."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from leasehold.domain.facts import Key
from leasehold.telemetry.catalogue import Spec
from leasehold.telemetry.series import ObjectSeries

GAUGE = Spec("x_expiry", "gauge", "When.", ("namespace", "name", "source"))
PLAIN = Spec("x_now", "gauge", "Now.", ("namespace", "name"))


def _page(series: ObjectSeries) -> list[str]:
    registry = CollectorRegistry()
    registry.register(series)
    return generate_latest(registry).decode().splitlines()


def test_set_add_and_forget() -> None:
    series = ObjectSeries(PLAIN, kind="gauge")
    series.set(("a", "b"), 1.0)
    series.add(("a", "b"), 2.0)
    series.add(("a", "c"), 1.0)
    assert 'x_now{name="b",namespace="a"} 3.0' in _page(series)
    series.forget(("a", "b"))
    series.forget(("a", "never"))
    assert _page(series)[2:] == ['x_now{name="c",namespace="a"} 1.0']


def test_a_key_is_an_owner_and_kinds_do_not_meet() -> None:
    series = ObjectSeries(PLAIN, kind="gauge")
    series.set(Key("ExternalSecret", "a", "b"), 1.0)
    series.forget(Key("SecretStore", "a", "b"))
    assert _page(series)[2:] == ['x_now{name="b",namespace="a"} 1.0']


def test_replace_leaves_nothing_behind() -> None:
    series = ObjectSeries(GAUGE, kind="gauge")
    series.replace(("a", "b"), {("s",): 1.0, ("t",): 2.0})
    series.replace(("a", "b"), {("t",): 5.0})
    assert _page(series)[2:] == ['x_expiry{name="b",namespace="a",source="t"} 5.0']
    series.replace(("a", "c"), {("t",): 5.0})
    series.forget(("a", "c"))
    series.replace(("a", "b"), {})
    assert _page(series)[2:] == []


@pytest.mark.parametrize(
    ("name", "kind", "announced"),
    [
        ("x_calls_total", "counter", "# TYPE x_calls_total counter"),
        ("x_calls_error", "counter", "# TYPE x_calls_error untyped"),
        ("x_now", "gauge", "# TYPE x_now gauge"),
    ],
)
def test_names_stay_as_they_are(name: str, kind: str, announced: str) -> None:
    series = ObjectSeries(Spec(name, kind, "Help.", ("namespace", "name")), kind=kind)
    series.add(("a", "b"), 1)
    page = _page(series)
    assert announced in page
    assert f'{name}{{name="b",namespace="a"}} 1.0' in page


def test_wrong_number_of_labels_is_an_error() -> None:
    series = ObjectSeries(GAUGE, kind="gauge")
    series.set(("a", "b"), 1.0)
    with pytest.raises(ValueError, match="zip"):
        list(series.collect())


def test_a_name_taken_twice_is_refused() -> None:
    registry = CollectorRegistry()
    registry.register(ObjectSeries(GAUGE, kind="gauge"))
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(ObjectSeries(GAUGE, kind="gauge"))
