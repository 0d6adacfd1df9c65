from tests.contracts.cluster_writes import WorkloadsContract


class TestWorkloadsInMemory(WorkloadsContract):
    """The contract, on the cluster in memory."""
