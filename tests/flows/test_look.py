import pytest

from leasehold.domain import sources
from leasehold.domain.errors import Misconfigured
from leasehold.domain.ports import Identity
from leasehold.flows import look
from tests.stories.town import SHOP, Town, key


async def looked(town):
    """Return the house, the ExternalSecret db and its first entry."""
    op = await town.boot()
    secret = op.house.view.external_secret(key())
    return op.house, secret, sources.entries(secret)[0]


async def test_a_look_gathers_what_is_known_without_a_request():
    town = Town()
    town.secret()
    await town.start()
    town.cluster.calls.clear()
    secret = town.op.house.view.external_secret(key())
    facts = look.facts(town.op.house, secret)
    assert town.cluster.calls == []
    assert facts.target is not None
    assert facts.target.resource_version == secret.status.target_resource_version
    assert (facts.targets_heard, facts.published, facts.rolled_out, facts.record) == (True, True, True, None)


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"refreshInterval": "soon"}, "spec.refreshInterval"),
        ({"lease": {"gracePeriod": "soon"}}, "spec.lease.gracePeriod"),
        ({"lease": {"rotateBefore": "soon"}}, "spec.lease.rotateBefore"),
        ({"lease": {"renewAt": "soon"}}, "spec.lease.renewAt"),
        ({"rollout": {"deadline": "soon"}}, "spec.rollout.deadline"),
    ],
)
async def test_a_time_that_is_none_names_its_field(spec, path):
    town = Town()
    town.secret(**spec)
    house, secret, _ = await looked(town)
    with pytest.raises(Misconfigured) as refused:
        look.facts(house, secret)
    assert refused.value.path == path
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("spec", "rotate_before", "grace"),
    [
        ({}, 900.0, 300.0),
        ({"lease": {"gracePeriod": "1m"}}, 660.0, 60.0),
        ({"lease": {"gracePeriod": "1m"}, "rollout": {"deadline": "2m"}}, 180.0, 60.0),
        ({"lease": {"rotateBefore": "30s"}}, 30.0, 300.0),
    ],
)
async def test_the_lead_of_a_rotation_is_enough_for_rollout_and_grace(spec, rotate_before, grace):
    town = Town()
    town.secret(**spec)
    house, secret, _ = await looked(town)
    terms = look.terms(house, secret)
    assert (terms.rotate_before, terms.grace) == (rotate_before, grace)


async def test_an_entry_is_read_where_its_store_is_and_as_who_the_object_says():
    town = Town()
    town.secret(identity={"serviceAccountRef": {"name": "payments", "audiences": ["bank"]}})
    place = look.place(*await looked(town))
    assert (place.ref.kind, place.ref.name, place.ref.namespace) == ("SecretStore", "vault", SHOP)
    assert place.identity == Identity(SHOP, service_account="payments", audiences=("bank",))


@pytest.mark.parametrize(
    ("ref", "problem"),
    [
        ({"name": "nowhere"}, "SecretStore nowhere does not exist"),
        ({"name": "nowhere", "kind": "ClusterSecretStore"}, "ClusterSecretStore nowhere does not exist"),
    ],
)
async def test_a_store_that_does_not_exist_is_named(ref, problem):
    town = Town()
    town.secret(secretStoreRef=ref)
    with pytest.raises(Misconfigured, match=problem):
        look.place(*await looked(town))


async def test_a_cluster_store_may_keep_a_namespace_out():
    town = Town()
    spec = {"provider": {"vault": town.provider()}, "conditions": [{"namespaces": ["elsewhere"]}]}
    town.cluster.put(
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ClusterSecretStore",
            "metadata": {"name": "wide"},
            "spec": spec,
        }
    )
    town.secret(secretStoreRef={"name": "wide", "kind": "ClusterSecretStore"})
    with pytest.raises(Misconfigured, match=r"denied by spec\.condition"):
        look.place(*await looked(town))


async def test_only_what_asks_for_another_credential_changes_the_hash():
    town = Town()
    town.leased()
    house, secret, entry = await looked(town)
    before = look.wanted_hash(entry, look.place(house, secret, entry))
    town.edit("VaultDynamicSecret", "creds", lambda body: body["spec"].update(path="database/creds/other"))
    town.op.hear()
    assert look.wanted_hash(entry, look.place(house, secret, entry)) != before
