from tests.contracts.cluster_reads import ListingContract


class TestListingInMemory(ListingContract):
    """The contract, on the cluster in memory."""
