"""What listing objects and resolving references does, on any cluster."""

from __future__ import annotations

from typing import Any

import pytest

from leasehold.api.meta import CAProvider, SecretKeySelector, ServiceAccountSelector
from leasehold.cluster import gist, listing
from leasehold.cluster.credentials import KubeCredentials, Tokens
from leasehold.domain.errors import Denied, DomainError, Misconfigured
from leasehold.domain.facts import Key
from leasehold.domain.ports import Identity, StoreRef
from tests.contracts.canary import assert_clean
from tests.contracts.cluster import ClusterBench, external_secret, secret

MANAGED = {"reconcile.external-secrets.io/managed": "true"}


async def heard(bench: ClusterBench, kind: str) -> list[str]:
    """Return the names of all objects of a kind in the namespace."""
    return sorted([item["metadata"]["name"] async for item in listing.everything(bench.api, kind, bench.namespace)])


class ListingContract:
    """Subclasses give a fixture ``bench``."""

    async def test_a_list_comes_in_chunks_and_whole(self, bench: ClusterBench, monkeypatch: pytest.MonkeyPatch) -> None:
        assert await heard(bench, gist.EXTERNAL_SECRET) == []
        names = [f"es-{number}" for number in range(5)]
        for name in names:
            bench.put(external_secret(name))
        monkeypatch.setattr(listing, "CHUNK", 2)
        assert await heard(bench, gist.EXTERNAL_SECRET) == names

    async def test_of_secrets_only_metadata_of_managed_ones(self, bench: ClusterBench) -> None:
        assert await heard(bench, gist.SECRET) == []
        for name, labels in (("ours", MANAGED), ("theirs", {}), ("unmanaged", dict.fromkeys(MANAGED, "false"))):
            bench.put(secret(name, labels, password="Y2FuYXJ5"))
        found = [item async for item in listing.everything(bench.api, gist.SECRET, bench.namespace)]
        assert [item["metadata"]["name"] for item in found] == ["ours"]
        assert_clean(found, secrets=("Y2FuYXJ5", "canary"))

    async def test_one_object_is_asked_for_as_a_list_sees_it(self, bench: ClusterBench) -> None:
        bench.put(external_secret("es-1"))
        bench.put(secret("theirs"))
        place = bench.namespace
        found = await listing.one(bench.api, Key(gist.EXTERNAL_SECRET, place, "es-1"))
        assert found is not None
        assert found["spec"]["data"]
        assert await listing.one(bench.api, Key(gist.EXTERNAL_SECRET, place, "es-2")) is None
        assert await listing.one(bench.api, Key(gist.SECRET, place, "theirs")) is None
        namespace = await listing.one(bench.api, Key(gist.NAMESPACE, "", place))
        assert namespace is not None
        assert namespace["metadata"]["name"] == place

    async def test_a_refusal_names_what_may_not_be_listed(self, bench: ClusterBench) -> None:
        with pytest.raises(Denied, match="may not list externalsecrets"):
            await listing.one(bench.stranger, Key(gist.EXTERNAL_SECRET, bench.namespace, "x"))


def store(bench: ClusterBench, *, cluster: bool = False, elsewhere: str = "") -> KubeCredentials:
    """Return the credentials of a store in the namespace, or of one of the cluster used from ``elsewhere``."""
    ref = StoreRef("ClusterSecretStore", "vault", "") if cluster else StoreRef("SecretStore", "vault", bench.namespace)
    identity = Identity(elsewhere if cluster else bench.namespace)
    return KubeCredentials(bench.api, Tokens(bench.api, bench.clock), ref, identity)


async def refused(call: Any) -> DomainError:
    with pytest.raises(Misconfigured) as caught:
        await call
    assert caught.value.remedy
    assert_clean(caught.value, secrets=("canary", "Y2FuYXJ5"))
    return caught.value


class CredentialsContract:
    """Subclasses give a fixture ``bench``."""

    @pytest.fixture(autouse=True)
    def furnished(self, bench: ClusterBench) -> None:
        meta = {"metadata": {"name": "login"}, "apiVersion": "v1"}
        bench.put({**meta, "kind": "Secret", "data": {"token": "Y2FuYXJ5", "ca.crt": "Y2E="}})
        bench.put({**meta, "kind": "ConfigMap", "data": {"ca.crt": "one", "other": "two"}})
        bench.put({**meta, "kind": "ServiceAccount"})

    @pytest.mark.parametrize("cluster", [False, True])
    async def test_a_key_of_a_secret(self, bench: ClusterBench, cluster: bool) -> None:
        held = store(bench, cluster=cluster, elsewhere=bench.namespace)
        assert (await held.secret(SecretKeySelector(name="login", key="token"))).reveal() == b"canary"
        assert (await held.secret(SecretKeySelector(name="login"), default_key="token")).reveal() == b"canary"
        named = SecretKeySelector(name="login", key="token", namespace=bench.namespace)
        assert (await held.secret(named)).reveal() == b"canary"

    async def test_a_reference_that_leads_nowhere_is_named(self, bench: ClusterBench) -> None:
        held, place = store(bench), bench.namespace
        assert f"Secret {place}/gone" in str(await refused(held.secret(SecretKeySelector(name="gone", key="token"))))
        assert "no key other" in str(await refused(held.secret(SecretKeySelector(name="login", key="other"))))
        assert "SecretStore" in str(await refused(held.secret(SecretKeySelector(name="login"))))

    async def test_a_store_of_a_namespace_stays_in_it(self, bench: ClusterBench) -> None:
        held = store(bench)
        elsewhere = {"namespace": "elsewhere"}
        account = ServiceAccountSelector(name="login", **elsewhere)
        for call in (
            held.secret(SecretKeySelector(name="login", key="token", **elsewhere)),
            held.authority(CAProvider(type="ConfigMap", name="login", key="ca.crt", **elsewhere)),
            held.authority(CAProvider(type="Secret", name="login", key="ca.crt", **elsewhere)),
            held.account_token(account, audiences=[]),
        ):
            assert "elsewhere" in str(await refused(call))

    async def test_a_store_of_the_cluster_looks_where_it_is_used(self, bench: ClusterBench) -> None:
        selector = SecretKeySelector(name="login", key="token")
        error = await refused(store(bench, cluster=True, elsewhere="kube-public").secret(selector))
        assert "kube-public/login" in str(error)
        error = await refused(store(bench, cluster=True).secret(selector))
        assert "each ExternalSecret" in str(error)
        explicit = SecretKeySelector(name="login", key="token", namespace=bench.namespace)
        assert await store(bench, cluster=True).secret(explicit)

    async def test_an_authority_from_either_kind(self, bench: ClusterBench) -> None:
        held = store(bench)
        assert await held.authority(CAProvider(type="ConfigMap", name="login", key="other")) == "two"
        assert await held.authority(CAProvider(type="ConfigMap", name="login")) == "one"
        assert await held.authority(CAProvider(type="Secret", name="login", key="ca.crt")) == "ca"
        for name, key in (("gone", "ca.crt"), ("login", "gone")):
            assert key in str(await refused(held.authority(CAProvider(type="ConfigMap", name=name, key=key))))

    async def test_an_authority_of_a_cluster_store_needs_a_namespace(self, bench: ClusterBench) -> None:
        held = store(bench, cluster=True, elsewhere=bench.namespace)
        assert "namespace" in str(await refused(held.authority(CAProvider(type="Secret", name="login", key="ca.crt"))))
        named = CAProvider(type="Secret", name="login", key="ca.crt", namespace=bench.namespace)
        assert await held.authority(named) == "ca"

    async def test_the_token_of_an_account(self, bench: ClusterBench) -> None:
        held = store(bench)
        selector = ServiceAccountSelector(name="login")
        token = await held.account_token(selector, audiences=["vault"])
        assert bench.bearer(token, "vault") == f"{bench.namespace}/login"
        assert await held.account_token(selector, audiences=["vault"]) == token
        error = await refused(held.account_token(ServiceAccountSelector(name="gone"), audiences=[]))
        assert f"ServiceAccount {bench.namespace}/gone" in str(error)

    async def test_the_token_of_a_workload(self, bench: ClusterBench) -> None:
        assert await store(bench).workload_token(audiences=["vault"]) is None
        ref = StoreRef("ClusterSecretStore", "vault", "")
        identity = Identity(bench.namespace, "login", ("own",))
        held = KubeCredentials(bench.api, Tokens(bench.api, bench.clock), ref, identity)
        token = await held.workload_token(audiences=["vault"])
        assert token is not None
        assert bench.bearer(token, "own") == f"{bench.namespace}/login"
        assert bench.bearer(token, "vault") == ""

    async def test_a_token_that_may_not_be_asked_for(self, bench: ClusterBench) -> None:
        ref = StoreRef("SecretStore", "vault", bench.namespace)
        held = KubeCredentials(bench.stranger, Tokens(bench.stranger, bench.clock), ref, Identity(bench.namespace))
        with pytest.raises(Denied, match=f"create serviceaccounts/token .*{bench.namespace}/login"):
            await held.account_token(ServiceAccountSelector(name="login"), audiences=[])
