"""Status writes: the contract, and who is told of the version that one made."""

from leasehold.cluster.objects import RESOURCES, KubeObjects
from leasehold.domain.facts import Key
from tests.contracts.cluster_writes import StatusContract
from tests.worlds.clock import ManualClock
from tests.worlds.cluster import ClusterWorld


class TestStatusInMemory(StatusContract):
    """The contract, on the cluster in memory."""


async def test_the_mirror_is_told_which_version_a_write_made() -> None:
    world, noted = ClusterWorld(ManualClock()), []
    body = world.put({"kind": "ExternalSecret", "metadata": {"name": "db", "namespace": "shop"}, "spec": {}})
    objects = KubeObjects(world, noted=lambda *told: noted.append(told))
    key = Key("ExternalSecret", "shop", "db")
    await objects.patch_status(key, {"refreshTime": "2026-01-01T00:00:00Z"})
    await objects.patch_status(Key("ExternalSecret", "shop", "gone"), {})
    assert noted == [(key, body["metadata"]["uid"], str(world.storage.revision))]


def test_every_kind_of_ours_has_a_place() -> None:
    assert RESOURCES["ClusterSecretStore"].path("", "x", "status").endswith("/clustersecretstores/x/status")
    assert set(RESOURCES) == {"ExternalSecret", "SecretStore", "ClusterSecretStore", "VaultDynamicSecret"}
