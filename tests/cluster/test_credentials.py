"""What stores refer to: the contract, and how long a token serves."""

from leasehold.api.meta import SecretKeySelector, ServiceAccountSelector
from leasehold.cluster.credentials import REUSE, TOKEN_LIFE, KubeCredentials, Tokens
from leasehold.domain.ports import Identity, StoreRef
from leasehold.domain.values import SecretBytes
from tests.contracts.cluster_reads import CredentialsContract
from tests.worlds.clock import ManualClock
from tests.worlds.cluster import SYSTEM, ClusterWorld
from tests.worlds.vault import encode_jwt


class TestCredentialsInMemory(CredentialsContract):
    """The contract, on the cluster in memory."""


class Counter:
    """Tokens of a cluster in memory."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.world = ClusterWorld(self.clock)
        for name in ("app", "web"):
            self.world.put({"kind": "ServiceAccount", "metadata": {"name": name, "namespace": "shop"}})
        self.tokens = Tokens(self.world, self.clock)

    @property
    def asked(self) -> list[tuple[str, tuple[str, ...]]]:
        """Account and audiences of each TokenRequest."""
        return [
            (call.name, tuple(call.body["spec"]["audiences"] or ()))
            for call in self.world.calls
            if call.label == "serviceaccounts/token"
        ]


async def test_a_token_serves_one_round_of_logins() -> None:
    counter = Counter()
    for _ in range(3):
        await counter.tokens.get("shop", "app", ["vault"])
    assert counter.asked == [("app", ("vault",))]
    counter.clock.advance(REUSE)
    await counter.tokens.get("shop", "app", ["vault"])
    assert len(counter.asked) == 2
    assert REUSE < TOKEN_LIFE * 0.8  # what is handed out lives on for long enough


async def test_accounts_and_audiences_are_told_apart() -> None:
    counter = Counter()
    for name, audiences in (("app", ["a"]), ("app", ["b"]), ("app", []), ("web", ["a"])):
        await counter.tokens.get("shop", name, audiences)
    assert len(counter.asked) == 4


async def test_ended_tokens_are_not_kept() -> None:
    counter = Counter()
    for number in range(50):
        await counter.tokens.get("shop", "app", [f"{number}"])
        counter.clock.advance(REUSE)
    assert len(counter.tokens._held) == 1


async def test_the_life_asked_for_is_the_shortest_there_is() -> None:
    counter = Counter()
    await counter.tokens.get("shop", "app", [])
    (call,) = [call for call in counter.world.calls if call.label == "serviceaccounts/token"]
    assert call.body["spec"] == {"audiences": None, "expirationSeconds": 600}


async def test_an_account_that_was_made_again_is_another() -> None:
    counter = Counter()
    await counter.tokens.get("shop", "app", ["vault"])
    counter.world.remove("ServiceAccount", "shop", "app")
    counter.world.put({"kind": "ServiceAccount", "metadata": {"name": "app", "namespace": "shop"}})
    counter.clock.advance(REUSE)
    await counter.tokens.get("shop", "app", ["vault"])
    assert len(counter.asked) == 2


async def test_the_operators_own_token_is_for_the_audience() -> None:
    counter = Counter()
    assert (await counter.tokens.own("vault")).reveal().decode() == encode_jwt(SYSTEM, "leasehold", "vault")
    assert await counter.tokens.own("") == counter.world.access.token()


async def test_a_user_of_a_kubeconfig_has_no_account() -> None:
    counter = Counter()
    counter.world.access = type(counter.world.access)("http://x", None, lambda: SECRET)
    assert await counter.tokens.own("vault") == SECRET
    assert counter.asked == []


SECRET = SecretBytes("an opaque token")


async def test_identities_of_a_workload() -> None:
    counter = Counter()
    ref = StoreRef("ClusterSecretStore", "shared", "")

    def bound(identity: Identity) -> KubeCredentials:
        return KubeCredentials(counter.world, counter.tokens, ref, identity)

    assert await bound(Identity("shop")).workload_token(audiences=["vault"]) is None
    await bound(Identity("shop", "app")).workload_token(audiences=["vault"])
    await bound(Identity("shop", "app", ("own",))).workload_token(audiences=["vault"])
    assert counter.asked == [("app", ("vault",)), ("app", ("own",))]


async def test_an_empty_namespace_is_none() -> None:
    counter = Counter()
    counter.world.put_secret("shop", "creds", token="canary")
    bound = KubeCredentials(counter.world, counter.tokens, StoreRef("SecretStore", "s", "shop"), Identity("shop"))
    found = await bound.secret(SecretKeySelector(name="creds", key="token", namespace=""))
    assert found == SecretBytes("canary")
    await bound.account_token(ServiceAccountSelector(name="app", namespace=""), audiences=["vault"])
    assert counter.asked == [("app", ("vault",))]
