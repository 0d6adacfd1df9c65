import pytest

from leasehold.api import parse
from leasehold.api.externalsecret import ExternalSecretSpec, RefreshPolicy
from leasehold.api.target import CreationPolicy, DeletionPolicy


def spec(**fields):
    return ExternalSecretSpec.model_validate(fields)


def test_absent_fields_mean_what_eso_means():
    found = spec(data=[{"secretKey": "k", "remoteRef": {"key": "a"}}])
    assert found.refresh_interval == "1h0m0s"
    assert found.refresh_policy is RefreshPolicy.PERIODIC
    assert found.secret_store_ref is None
    assert found.target.name is None
    assert found.target.creation_policy is CreationPolicy.OWNER
    assert found.target.deletion_policy is DeletionPolicy.RETAIN
    assert found.target.immutable is False
    assert (found.identity, found.lease, found.rollout, found.failover) == (None, None, None, ())


@pytest.mark.parametrize(("text", "seconds"), [("1h0m0s", 3600), ("0s", 0), ("0", 0), ("-1m", -60), ("15m", 900)])
def test_refresh_interval_in_seconds(text, seconds):
    assert spec(refreshInterval=text).refresh_seconds() == seconds


@pytest.mark.parametrize("text", ["", "1 hour", "60"])
def test_a_bad_refresh_interval_is_read_and_complains_when_asked(text):
    found = spec(refreshInterval=text)
    with pytest.raises(ValueError, match="is not a duration"):
        found.refresh_seconds()


def test_an_empty_rollout_is_not_an_absent_one():
    assert spec(rollout={}).rollout is not None
    assert spec().rollout is None


def test_a_young_object_has_an_empty_status():
    young = parse.external_secret({"metadata": {"name": "a"}, "spec": {}})
    assert young.status.refresh_time is None
    assert young.status.conditions == ()


def test_repeated_keys_are_found_in_a_list_of_any_length():
    keys = ["b", *(f"k{place}" for place in range(1000)), "a", "b", "a", "b"]
    found = spec(data=[{"secretKey": key, "remoteRef": {"key": "r"}} for key in keys])
    assert found.repeated_keys() == ("b", "a")
    assert spec(data=[]).repeated_keys() == ()
