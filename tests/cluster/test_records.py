from tests.contracts.cluster_records import RecordsContract


class TestRecordsInMemory(RecordsContract):
    """The contract, on the cluster in memory."""
