"""What writing and reading target Secrets does, on any cluster."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from leasehold.cluster.secrets import KubeSecrets
from leasehold.domain import changes
from leasehold.domain.errors import Conflict, Denied, Misconfigured, Missing
from leasehold.domain.facts import WantedSecret, Written
from tests.contracts.canary import assert_clean
from tests.contracts.cluster import FIRST, MANAGER, SECOND, ClusterBench, hidden, managers, secret, wanted

MIXED = hidden(password="canary-1", raw=b"\x00\xff", empty="")
IMPOSSIBLE_KEY = {"a/b": FIRST["password"]}
LARGE = hidden(big="canary" * 180_000)


def at(secret: WantedSecret, written: Written) -> WantedSecret:
    """Return the Secret as a change of what was written."""
    return replace(secret, resource_version=written.resource_version, uid=written.uid)


class SecretsContract:
    """Subclasses give a fixture ``bench``."""

    @pytest.fixture
    def secrets(self, bench: ClusterBench) -> KubeSecrets:
        return KubeSecrets(bench.api)

    async def test_what_is_created_is_there_as_wanted(self, bench: ClusterBench, secrets: KubeSecrets) -> None:
        owner = bench.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}})
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
        asked = wanted(
            bench,
            data=MIXED,
            type="example.com/login",
            owner_references=({**reference, "controller": True, "blockOwnerDeletion": True},),
            immutable=True,
        )
        written = await secrets.create(asked)
        body = bench.find("Secret", "db")
        assert body is not None
        assert written == Written(body["metadata"]["uid"], body["metadata"]["resourceVersion"])
        decoded = {key: base64.b64decode(value) for key, value in body["data"].items()}
        assert decoded == {"password": b"canary-1", "raw": b"\x00\xff", "empty": b""}
        assert (body["type"], body["immutable"]) == ("example.com/login", True)
        assert body["metadata"]["labels"] == asked.labels
        assert body["metadata"]["annotations"] == asked.annotations
        assert body["metadata"]["ownerReferences"] == list(asked.owner_references)

    async def test_the_writer_is_named_and_owns_its_keys(self, bench: ClusterBench, secrets: KubeSecrets) -> None:
        await secrets.create(wanted(bench))
        body = bench.find("Secret", "db")
        assert body is not None
        fields = managers(body)[MANAGER, "Update", ""]
        assert "f:password" in fields["f:data"]
        assert "f:reconcile.external-secrets.io/managed" in fields["f:metadata"]["f:labels"]

    async def test_a_key_of_somebody_else_stays_his(self, bench: ClusterBench, secrets: KubeSecrets) -> None:
        await secrets.create(wanted(bench, data=hidden(goes="1", stays="2")))
        bench.edit("Secret", "db", lambda body: body["data"].update(theirs="Mw=="))
        live = await secrets.get(bench.namespace, "db")
        assert live is not None
        kept = {"stays": live.data["stays"], "theirs": live.data["theirs"], **hidden(new="4")}
        await secrets.replace(at(wanted(bench, data=kept), Written(live.metadata["uid"], live.resource_version)))
        live = await secrets.get(bench.namespace, "db")
        assert live is not None
        assert changes.managed_fields(live.metadata, MANAGER).data == {"stays", "new"}

    async def test_what_is_read_is_what_was_written(self, bench: ClusterBench, secrets: KubeSecrets) -> None:
        assert await secrets.get(bench.namespace, "db") is None
        written = await secrets.create(wanted(bench, data=MIXED))
        found = await secrets.get(bench.namespace, "db")
        assert found is not None
        assert found.data == MIXED
        assert (found.type, found.immutable, found.resource_version) == ("Opaque", False, written.resource_version)
        assert found.metadata["managedFields"]
        assert_clean(found)

    async def test_a_secret_without_data_can_be_read(self, bench: ClusterBench, secrets: KubeSecrets) -> None:
        bench.put(secret("bare"))
        found = await secrets.get(bench.namespace, "bare")
        assert found is not None
        assert found.data == {}

    async def test_nothing_is_created_over_another(self, bench: ClusterBench, secrets: KubeSecrets) -> None:
        await secrets.create(wanted(bench))
        with pytest.raises(Conflict, match="exists already") as caught:
            await secrets.create(wanted(bench, data=SECOND))
        assert bench.namespace in str(caught.value)
        assert_clean(caught.value)

    async def test_a_replacement_takes_foreign_keys_away(self, bench: ClusterBench, secrets: KubeSecrets) -> None:
        await secrets.create(wanted(bench))
        found = bench.edit("Secret", "db", lambda body: body["data"].update(foreign="eA=="))
        now = Written(found["metadata"]["uid"], found["metadata"]["resourceVersion"])
        written = await secrets.replace(at(wanted(bench, data=SECOND, labels={}), now))
        body = bench.find("Secret", "db")
        assert body is not None
        assert {key: base64.b64decode(value) for key, value in body["data"].items()} == {"password": b"canary-2"}
        assert "labels" not in body["metadata"]
        assert written == Written(now.uid, body["metadata"]["resourceVersion"])
        assert written.resource_version != now.resource_version

    async def test_a_replacement_without_difference_moves_nothing(
        self, bench: ClusterBench, secrets: KubeSecrets
    ) -> None:
        written = await secrets.create(wanted(bench))
        assert await secrets.replace(at(wanted(bench), written)) == written

    async def test_nobody_elses_write_is_lost(self, bench: ClusterBench, secrets: KubeSecrets) -> None:
        written = await secrets.create(wanted(bench))
        bench.edit("Secret", "db", lambda body: body["data"].update(foreign="eA=="))
        with pytest.raises(Conflict, match="changed") as caught:
            await secrets.replace(at(wanted(bench, data=SECOND), written))
        assert_clean(caught.value)
        body = bench.find("Secret", "db")
        assert body is not None
        assert "foreign" in body["data"]

    async def test_what_was_deleted_is_not_replaced(self, bench: ClusterBench, secrets: KubeSecrets) -> None:
        written = await secrets.create(wanted(bench))
        bench.remove("Secret", "db")
        with pytest.raises((Conflict, Missing)):
            await secrets.replace(at(wanted(bench), written))
        assert bench.find("Secret", "db") is None

    async def test_a_namesake_is_not_replaced(self, bench: ClusterBench, secrets: KubeSecrets) -> None:
        written = await secrets.create(wanted(bench))
        bench.remove("Secret", "db")
        bench.put(secret("db", other="eA=="))
        with pytest.raises(Conflict):
            await secrets.replace(at(wanted(bench), written))

    async def test_exactly_that_object_is_deleted(self, bench: ClusterBench, secrets: KubeSecrets) -> None:
        written = await secrets.create(wanted(bench))
        with pytest.raises(Conflict):
            await secrets.delete(bench.namespace, "db", uid="00000000-0000-0000-0000-000000000000")
        assert bench.find("Secret", "db") is not None
        await secrets.delete(bench.namespace, "db", uid=written.uid)
        assert bench.find("Secret", "db") is None
        await secrets.delete(bench.namespace, "db", uid=written.uid)

    async def test_a_type_stays(self, bench: ClusterBench, secrets: KubeSecrets) -> None:
        written = await secrets.create(wanted(bench))
        with pytest.raises(Misconfigured, match="type") as caught:
            await secrets.replace(at(wanted(bench, type="example.com/other"), written))
        assert_clean(caught.value)

    async def test_an_immutable_secret_keeps_its_data(self, bench: ClusterBench, secrets: KubeSecrets) -> None:
        written = await secrets.create(wanted(bench, immutable=True))
        with pytest.raises(Misconfigured, match="data") as caught:
            await secrets.replace(at(wanted(bench, data=SECOND, immutable=True), written))
        assert_clean(caught.value)
        with pytest.raises(Misconfigured, match="immutable"):
            await secrets.replace(at(wanted(bench), written))
        relabelled = at(wanted(bench, labels={"team": "a"}, immutable=True), written)
        assert (await secrets.replace(relabelled)).resource_version != written.resource_version

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"type": "kubernetes.io/tls"}, r"data\[tls\.crt\]"),
            ({"data": IMPOSSIBLE_KEY}, r"data\[a/b\]"),
            ({"data": LARGE}, "data"),
            ({"labels": {"team": "not a label"}}, "metadata.labels"),
        ],
        ids=["keys of the type", "a key that is none", "too large", "a label that is none"],
    )
    async def test_what_cannot_be_is_refused_by_field(
        self, bench: ClusterBench, secrets: KubeSecrets, fields: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(Misconfigured, match=field) as caught:
            await secrets.create(wanted(bench, **fields))
        assert caught.value.remedy
        assert_clean(caught.value)
        assert bench.find("Secret", "db") is None

    async def test_a_namespace_that_is_not_there(self, bench: ClusterBench, secrets: KubeSecrets) -> None:
        with pytest.raises(Missing):
            await secrets.create(wanted(bench, namespace=f"{bench.namespace}-gone"))

    async def test_a_namespace_that_ends(self, bench: ClusterBench, secrets: KubeSecrets) -> None:
        bench.end_namespace()
        with pytest.raises(Denied, match="being deleted") as caught:
            await secrets.create(wanted(bench))
        assert "role" not in caught.value.remedy

    async def test_a_refusal_names_verb_resource_place_and_remedy(self, bench: ClusterBench) -> None:
        stranger = KubeSecrets(bench.stranger)
        refused = {
            "get": stranger.get(bench.namespace, "db"),
            "create": stranger.create(wanted(bench)),
            "update": stranger.replace(at(wanted(bench), Written("u", "1"))),
            "delete": stranger.delete(bench.namespace, "db", uid="u"),
        }
        for verb, call in refused.items():
            with pytest.raises(Denied, match=f"may not {verb} secrets") as caught:
                await call
            assert bench.namespace in str(caught.value)
            assert "role" in caught.value.remedy
            assert_clean(caught.value)
