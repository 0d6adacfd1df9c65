import pytest

from leasehold.api import parse
from leasehold.api.generators import VaultResultType


def generator(**spec):
    raw = {"path": "database/creds/app", "provider": {"server": "https://v"}, **spec}
    return parse.vault_dynamic_secret({"metadata": {"name": "db", "namespace": "shop"}, "spec": raw}).spec


def test_absent_fields_mean_what_eso_means():
    spec = generator()
    assert spec.result_type is VaultResultType.DATA
    assert spec.allow_empty_response is False
    assert spec.method is None
    assert spec.provider.version == "v2"
    assert spec.provider.auth is None


@pytest.mark.parametrize("value", [{"ttl": "1h"}, ["a"], "text", 5, True, None])
def test_parameters_are_any_json(value):
    assert generator(parameters=value).parameters == value


def test_parameters_stay_out_of_reprs():
    canary = "correct horse battery staple"
    assert canary not in repr(generator(parameters={"a": canary}, getParameters={"b": [canary]}))


def test_path_and_provider_are_needed():
    with pytest.raises(parse.Invalid, match=r"VaultDynamicSecret shop/db: spec\.path is required"):
        parse.vault_dynamic_secret({"metadata": {"name": "db", "namespace": "shop"}, "spec": {}})
