"""The operator as a process, and users of it.

`operator` is shared: it runs from the first test that asks for it until a test needs one of its own. `make_operator`
starts one that sees the test's namespace only, with an operator namespace of its own, and lets the shared one rest:
two operators of one class must not serve one object. The order of tests is that of PHASES.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed.controlplane import ControlPlane
from testbed.mounts import Mount
from testbed.operator import ACCOUNT, VAULT_ROLE, Operator
from testbed.postgres import Postgres
from testbed.processes import Yard
from testbed.vault import Vault
from tests.live.operator import tenant as tenants
from tests.live.operator.cluster import Cluster
from tests.live.operator.lender import Lender
from tests.live.operator.tenant import Tenant
from tests.live.operator.traces import Run
from tools import rbac

HERE = Path(__file__).resolve().parent
LOUD = {"LEASEHOLD_LOGLEVEL": "debug", "LEASEHOLD_LOG_FORMAT": "json"}
"""Everything is logged, so that whatever could show a secret has its chance."""
PHASES = ("operator", "undefined", "night", "alone", "dawn", "whole_run")
"""Fixtures by which tests are ordered. What shares an operator comes first; then
what takes away our kinds; then the outage begins that lasts while others are tested, whose end comes after them; then
what looks at the whole run."""
MakeOperator = Callable[..., Operator]
_shared = pytest.StashKey[Operator]()
_partial = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this folder in the order of PHASES."""
    ours = [place for place, item in enumerate(items) if HERE in item.path.parents]
    if ours:
        files = {item.path for item in items}
        config = items[ours[0]].config
        config.stash[_partial] = not files.issuperset(HERE.glob("test_*.py"))
    for place, item in zip(ours, sorted((items[place] for place in ours), key=_turn), strict=True):
        items[place] = item


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Note that a part of this folder is left out."""
    for item in items:
        if HERE in item.path.parents:
            item.config.stash[_partial] = True


def _turn(item: pytest.Item) -> int:
    names = getattr(item, "fixturenames", ())
    special = [phase for phase in ("whole_run", "dawn", "night", "undefined") if phase in names]
    return PHASES.index(special[0] if special else "alone" if "alone" in names else "operator")


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the shared operator with this folder: other tests have objects of our kinds, too."""
    if nextitem is None or HERE not in nextitem.path.parents:
        _rest(item.session)


def _rest(session: pytest.Session) -> None:
    shared = session.stash.get(_shared, None)
    if shared is not None:
        shared.stop()


# -------------------------------------------------------------------------------------------------------- the operator


@pytest.fixture(scope="session")
def cluster(control_plane: ControlPlane, crds: None) -> Cluster:
    """The API server, with our kinds."""
    return Cluster(control_plane)


@pytest.fixture(scope="session")
def run(cluster: Cluster, yard: Yard) -> Run:
    """What is remembered of the whole run: its operators, and their traces."""
    return Run(cluster, yard.logs)


@pytest.fixture(scope="session")
def whole_run(run: Run, request: pytest.FixtureRequest) -> Run:
    """The same, for tests that come last; `partial` where not all tests of this folder are run."""
    run.partial = request.config.stash.get(_partial, False)
    return run


@pytest.fixture(scope="session")
def housed(
    yard: Yard, cluster: Cluster, run: Run, vault: Vault, kubernetes_auth: str, request: pytest.FixtureRequest
) -> Operator:
    """The shared operator, with its rights and its Vault identity; not necessarily running."""
    operator = Operator(yard, cluster.plane, settings=LOUD)
    settle(cluster, operator)
    trust(operator, vault)
    run.operators.append(operator)
    request.session.stash[_shared] = operator
    return operator


@pytest.fixture
def operator(housed: Operator) -> Operator:
    """The shared operator, ready."""
    if not housed.process.alive:
        housed.start()
    return housed


@pytest.fixture(scope="module")
def alone(request: pytest.FixtureRequest) -> None:
    """The shared operator rests."""
    _rest(request.session)


def settle(cluster: Cluster, operator: Operator) -> None:
    """Give an operator its namespace, its account and its rights, as `Operator.install` does, without the CRDs."""
    cluster.apply("Namespace", operator.namespace, {})
    for manifest in rbac.manifests(operator.namespace, ACCOUNT, operator.scoped or None):
        metadata = manifest["metadata"]
        cluster.apply(manifest["kind"], metadata["name"], manifest, namespace=metadata.get("namespace", ""))


def trust(operator: Operator, vault: Vault) -> None:
    """Give an operator its Vault identity, and let those of other namespaces keep theirs."""
    operator.trust(vault)
    vault.kubernetes_role(
        VAULT_ROLE, namespaces=["leasehold-*"], accounts=[ACCOUNT], policies=[VAULT_ROLE], audience="vault"
    )


def house(run: Run, yard: Yard, scoped: str, **settings: str) -> Operator:
    """Return an operator of its own for one namespace, settled and not started."""
    mark = secrets.token_hex(4)
    operator = Operator(
        yard,
        run.cluster.plane,
        name=f"operator-{mark}",
        namespace=f"leasehold-{mark}",
        scoped=scoped,
        settings=LOUD | {f"LEASEHOLD_{name.upper()}": value for name, value in settings.items()},
    )
    settle(run.cluster, operator)
    run.operators.append(operator)
    return operator


@pytest.fixture
def make_operator(
    yard: Yard, run: Run, vault: Vault, kubernetes_auth: str, namespace: str, alone: None
) -> Iterator[MakeOperator]:
    """Make operators of the test's own, which see its namespace only; they end with the test."""
    made: list[Operator] = []

    def make(*, identity: bool = True, **settings: str) -> Operator:
        operator = house(run, yard, namespace, **settings)
        if identity:
            trust(operator, vault)
        made.append(operator)
        return operator

    yield make
    for operator in made:
        operator.process.resume()
        operator.stop()


# ----------------------------------------------------------------------------------------------------------- its users


@pytest.fixture
def user(cluster: Cluster, namespace: str, vault: Vault, mount: Mount) -> Tenant:
    """A namespace with an account and a mount, and nothing else yet."""
    return make_user(cluster, namespace, vault, mount)


def make_user(cluster: Cluster, namespace: str, vault: Vault, mount: Mount) -> Tenant:
    """Give a namespace an account that may read a mount."""
    cluster.plane.create_service_account(namespace, tenants.ACCOUNT)
    role = mount.kubernetes_role(namespace=namespace, audience="vault")
    return Tenant(cluster, namespace, vault, mount, role)


@pytest.fixture
def tenant(user: Tenant) -> Tenant:
    """A user with the SecretStore `vault` and a remote secret `app` of one property, `password`."""
    user.mount.put("app", {"password": tenants.distinct()})
    user.store()
    return user


@pytest.fixture(scope="session")
def tls_vault(yard: Yard) -> Iterator[Vault]:
    """A second Vault, that speaks TLS with an authority of its own."""
    with Vault(yard, name="vault-tls-operator", storage="memory", tls=True) as vault:
        yield vault


@pytest.fixture
def lender(user: Tenant, postgres: Postgres, database: str) -> Lender:
    """A database role that the user may mint from."""
    return Lender.create(user, postgres)
