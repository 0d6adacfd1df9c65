from tests.contracts.cluster_secrets import SecretsContract


class TestSecretsInMemory(SecretsContract):
    """The contract, on the cluster in memory."""
