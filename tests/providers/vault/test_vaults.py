from __future__ import annotations

import pytest

from leasehold.api.stores.vault import VaultProvider
from leasehold.domain.ports import Connection, Handle, Identity
from leasehold.domain.values import SecretBytes
from leasehold.providers.vault.transport import Transport, Wiring
from leasehold.providers.vault.vaults import Habits, Vaults, narrow
from tests.worlds.clock import ManualClock
from tests.worlds.vault import VaultWorld, WorldTransport

CLUSTER = {"kubernetes": {"role": "r", "serviceAccountRef": {"name": "a", "namespace": "n"}}}
REFERENT = {"kubernetes": {"role": "r", "serviceAccountRef": {"name": "a"}}}


class Wires:
    def __init__(self, world: VaultWorld) -> None:
        self._world, self.made = world, list[tuple[Wiring, WorldTransport]]()

    def connect(self, wiring: Wiring) -> Transport:
        self.made.append((wiring, self._world.connect(wiring)))
        return self.made[-1][1]


@pytest.fixture
def wires(world: VaultWorld) -> Wires:
    return Wires(world)


@pytest.fixture
def vaults(wires: Wires, clock: ManualClock) -> Vaults:
    return Vaults(Habits(clock=clock, connect=wires.connect))


def test_connections_are_shared_by_wiring_and_circuits_by_address(vaults: Vaults, wires: Wires) -> None:
    one = vaults.dial(Wiring("https://v"), base="", headers={})
    same = vaults.dial(Wiring("https://v"), base="/x", headers={"a": "b"})
    trusting = vaults.dial(Wiring("https://v", ca_pem="pem"), base="", headers={})
    other = vaults.dial(Wiring("https://w"), base="", headers={})
    assert one.transport is same.transport
    assert one.transport is not trusting.transport
    assert one.circuit is trusting.circuit
    assert one.circuit is not other.circuit
    assert len(wires.made) == 3


async def test_a_keeper_shows_the_certificate_that_a_store_has_shown(vaults: Vaults, wires: Wires) -> None:
    vaults.dial(Wiring("https://v", certificate="PEM", key=SecretBytes("k")), base="", headers={})
    vaults.keeper(Connection("https://v"))
    vaults.keeper(Connection("https://w"))
    assert [wiring.certificate for wiring, _ in wires.made] == ["PEM", ""]


async def test_connections_that_nobody_uses_are_closed(vaults: Vaults, wires: Wires) -> None:
    lines = [vaults.dial(Wiring("https://v", certificate="PEM"), base="", headers={}) for _ in range(2)]
    other = vaults.dial(Wiring("https://v"), base="", headers={})
    await vaults.hang_up(lines[0])
    assert not any(transport.closed for _, transport in wires.made)
    await vaults.hang_up(lines[1])
    assert [transport.closed for _, transport in wires.made] == [True, False]
    vaults.keeper(Connection("https://v"))
    assert len(wires.made) == 2  # the bare ones; the certificate is forgotten with its connections
    await vaults.hang_up(other)
    assert not wires.made[1][1].closed  # the keeper has a line


async def test_closing_closes_every_connection(vaults: Vaults, wires: Wires, world: VaultWorld) -> None:
    vaults.dial(Wiring("https://v"), base="", headers={})
    await vaults.keeper(Connection("https://w")).look_up(Handle(SecretBytes("l"), SecretBytes("a")))
    await vaults.close()
    assert all(transport.closed for _, transport in wires.made)
    assert not world.seen
    await vaults.close()


@pytest.mark.parametrize(
    ("auth", "identity", "cluster_wide", "narrowed"),
    [
        (CLUSTER, Identity("team"), True, Identity("")),
        (CLUSTER, Identity("team"), False, Identity("team")),
        (CLUSTER, Identity("team", "payments"), True, Identity("team", "payments")),
        (REFERENT, Identity("team"), True, Identity("team")),
    ],
)
def test_namespaces_share_a_login_where_they_may(
    auth: dict[str, object], identity: Identity, narrowed: Identity, *, cluster_wide: bool
) -> None:
    provider = VaultProvider.model_validate({"server": "https://v", "auth": auth})
    assert narrow(provider, identity, cluster_wide=cluster_wide) == narrowed
