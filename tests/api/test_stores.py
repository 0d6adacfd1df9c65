import pytest

from leasehold.api import parse
from leasehold.api.stores import OPAQUE_PROVIDERS, provider_name


def store(**spec):
    raw = {"provider": {"fake": {"data": []}}, **spec}
    return parse.secret_store({"metadata": {"name": "s", "namespace": "shop"}, "spec": raw})


@pytest.mark.parametrize("name", ["fake", "vault", *OPAQUE_PROVIDERS])
def test_the_provider_is_known_by_its_key(name):
    inside = {"fake": {"data": []}, "vault": {"server": "https://v"}}.get(name, {"anything": [1]})
    found = store(provider={name: inside}).spec
    assert provider_name(found) == name
    assert found.provider.to_wire().keys() == {name}


def test_an_unknown_provider_is_named_too():
    assert provider_name(store(provider={"tomorrow": {}}).spec) == "tomorrow"


@pytest.mark.parametrize("provider", [{}, {"fake": {"data": []}, "aws": {}}, {"gcpsm": {}, "aws": {}}])
def test_a_store_has_exactly_one_provider(provider):
    with pytest.raises(parse.Invalid, match=r"SecretStore shop/s: spec\.provider must name exactly one provider"):
        store(provider=provider)


@pytest.mark.parametrize(
    ("interval", "seconds"), [(None, None), (0, None), ("", None), ("0s", None), (60, 60), ("5m", 300), ("1.5s", 1.5)]
)
def test_refresh_interval_in_seconds(interval, seconds):
    assert store(refreshInterval=interval).spec.refresh_seconds() == seconds


@pytest.mark.parametrize("interval", ["60", "soon", "-5m", -1])
def test_a_bad_refresh_interval_complains_when_asked(interval):
    with pytest.raises(ValueError, match=r"is not a duration|is negative"):
        store(refreshInterval=interval).spec.refresh_seconds()


def test_a_truth_value_is_no_interval():
    with pytest.raises(parse.Invalid, match=r"spec\.refreshInterval"):
        store(refreshInterval=True)


def test_both_kinds_of_store_have_one_spec():
    raw = {"metadata": {"name": "s"}, "spec": {"provider": {"fake": {"data": []}}, "controller": "mine"}}
    assert parse.secret_store(raw).spec == parse.cluster_secret_store(raw).spec
    assert parse.cluster_secret_store(raw).resource.namespaced is False
