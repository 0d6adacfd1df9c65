from tests.contracts.cluster_reads import CredentialsContract


class TestCredentialsInMemory(CredentialsContract):
    """The contract, on the cluster in memory."""
