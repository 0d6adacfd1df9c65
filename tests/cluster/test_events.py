from tests.contracts.cluster_writes import EventsContract


class TestEventsInMemory(EventsContract):
    """The contract, on the cluster in memory."""
