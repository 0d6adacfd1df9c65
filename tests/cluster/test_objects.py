from tests.contracts.cluster_writes import StatusContract


class TestStatusInMemory(StatusContract):
    """The contract, on the cluster in memory."""
