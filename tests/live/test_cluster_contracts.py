"""The contracts of the cluster's adapters on a real API server: what holds in memory must hold there."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from testbed.controlplane import ControlPlane
from tests.contracts.cluster_reads import CredentialsContract, ListingContract
from tests.contracts.cluster_records import RecordsContract
from tests.contracts.cluster_secrets import SecretsContract
from tests.contracts.cluster_writes import EventsContract, KeysContract, StatusContract, WorkloadsContract
from tests.live.cluster_bench import LiveBench

pytestmark = pytest.mark.usefixtures("crds")


@pytest.fixture
async def bench(control_plane: ControlPlane, namespace: str) -> AsyncIterator[LiveBench]:
    bench = LiveBench(control_plane, namespace)
    yield bench
    await bench.close()


class TestSecrets(SecretsContract):
    pass


class TestStatus(StatusContract):
    pass


class TestWorkloads(WorkloadsContract):
    pass


class TestRecords(RecordsContract):
    pass


class TestEvents(EventsContract):
    pass


class TestKeys(KeysContract):
    pass


class TestListing(ListingContract):
    pass


class TestCredentials(CredentialsContract):
    pass
