from tests.contracts.cluster_writes import KeysContract


class TestKeysInMemory(KeysContract):
    """The contract, on the cluster in memory."""
