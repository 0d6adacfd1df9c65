"""Real servers for the tests below this folder: one of each per test run, started when first asked for.

What a test needs for itself (a namespace, a mount, database roles) is fresh and has a name of its own. A test may
pause, seal, stop or kill a shared server: the next test finds it up again. When a test failed, the servers' logs are
kept and their folder is printed.
"""

import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

import testbed.node
from testbed import binaries, roster, toolchain
from testbed.controlplane import ControlPlane
from testbed.errors import BedError
from testbed.mounts import Mount
from testbed.node import Node
from testbed.pods import Kwok
from testbed.postgres import Postgres
from testbed.processes import Yard
from testbed.vault import Vault

HERE = Path(__file__).resolve().parent
KEPT = HERE.parent.parent / ".testbed"
RUNS_KEPT = 5
Part = ControlPlane | Kwok | Node | Postgres | Vault
P = ParamSpec("P")
T = TypeVar("T", ControlPlane, Kwok, Node, Postgres, Vault)
_kept_logs = pytest.StashKey[Path]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies below this folder as live."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.live)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where the logs are, when they were kept."""
    if logs := config.stash.get(_kept_logs, None):
        terminalreporter.write_line(f"logs of the test bed: {logs}")


@pytest.fixture(scope="session")
def yard(request: pytest.FixtureRequest) -> Iterator[Yard]:
    """The run's folder; its servers end with the session, its logs stay when a test failed."""
    if reason := toolchain.why_not():
        pytest.skip(f"no test bed here: {reason}")
    _forget_old_runs()
    folder = KEPT / f"live-{secrets.token_hex(4)}"
    with Yard(folder) as yard:
        yield yard
    if not request.session.testsfailed:
        shutil.rmtree(folder)
        return
    request.config.stash[_kept_logs] = yard.logs
    for path in folder.iterdir():
        if path.is_dir() and path != yard.logs:
            shutil.rmtree(path)


@pytest.fixture(scope="session")
def started() -> dict[str, Part]:
    """The shared servers that run, by the names of their fixtures."""
    return {}


@pytest.fixture(scope="session")
def control_plane(yard: Yard, started: dict[str, Part]) -> ControlPlane:
    """etcd, kube-apiserver and kube-controller-manager."""
    started["control_plane"] = part = _start(ControlPlane, yard)
    return part


@pytest.fixture(scope="session")
def crds(control_plane: ControlPlane) -> None:
    """Our kinds, as `kubectl apply -f crds/` installs them, ready for use."""
    definitions = HERE.parent.parent / "crds"
    control_plane.kubectl.apply_files(definitions)
    control_plane.kubectl.run("wait", "--for=condition=Established", "--timeout=30s", f"--filename={definitions}")


@pytest.fixture(scope="session")
def pods(yard: Yard, control_plane: ControlPlane, started: dict[str, Part]) -> Kwok:
    """The scheduler and kwok: Pods run, or fail on purpose by the annotations of testbed/stages."""
    started["pods"] = part = _start(Kwok, yard, control_plane)
    return part


@pytest.fixture(scope="session")
def postgres(yard: Yard, started: dict[str, Part]) -> Postgres:
    """PostgreSQL."""
    started["postgres"] = part = _start(Postgres, yard)
    return part


@pytest.fixture(scope="session")
def vault(yard: Yard, started: dict[str, Part]) -> Vault:
    """Vault, with KV version 2 at `secret` and its audit log."""
    started["vault"] = part = _start(Vault, yard)
    return part


@pytest.fixture(scope="session")
def node(
    yard: Yard, control_plane: ControlPlane, pods: Kwok, vault: Vault, postgres: Postgres, started: dict[str, Part]
) -> Node:
    """A real kubelet beside kwok's pretended one, for pods that `node.place` sends there; they reach Vault and
    PostgreSQL at `node.ADDRESS`. Skips the test where no real node can run or the kubelet is not built."""
    if reason := testbed.node.why_not():
        pytest.skip(reason)
    try:
        binaries.find("kubelet")
    except BedError as error:
        pytest.skip(f"{error.problem}: run `python -m testbed build --node real`")
    reach = (vault.port.number, postgres.port.number)
    started["node"] = part = _start(Node, yard, control_plane, pods.scheduler, reach=reach, tainted=True)
    return part


@pytest.fixture(scope="session")
def kubernetes_auth(vault: Vault, control_plane: ControlPlane) -> str:
    """The path of Vault's Kubernetes auth method, which checks JWTs against the control plane."""
    vault.configure_kubernetes_auth(control_plane)
    return "kubernetes"


@pytest.fixture(scope="session")
def database(vault: Vault, postgres: Postgres) -> str:
    """The path of Vault's database engine, with the connection `postgres`; tests add roles of their own."""
    vault.configure_database(postgres)
    return "database"


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A namespace of the test's own; its deletion is asked for afterwards, not waited for."""
    name = f"t-{secrets.token_hex(4)}"
    control_plane.create_namespace(name)
    yield name
    control_plane.start()
    control_plane.api("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def mount(vault: Vault, kubernetes_auth: str) -> Iterator[Mount]:
    """A KV version 2 mount of the test's own, with a policy, and Kubernetes logins that may read it."""
    mount = Mount.create(vault)
    yield mount
    _heal(vault)
    mount.remove()


@pytest.fixture(autouse=True)
def healed(request: pytest.FixtureRequest, started: dict[str, Part]) -> Iterator[None]:
    """After each test, bring back the shared servers that it used, whatever it did to them."""
    yield
    for name, part in started.items():
        if name in request.fixturenames:
            _heal(part)


def _start(make: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Make and start a part; a missing program is the run's failure, told in one line."""
    try:
        part = make(*arguments, **options)
        part.start()
        return part
    except BedError as error:
        told = str(error)
    pytest.fail(told, pytrace=False)


def _forget_old_runs() -> None:
    """Remove what failed or killed runs kept, but for the newest ones; another run may be under way."""
    folders = sorted(KEPT.glob("live-*"), key=lambda path: path.stat().st_mtime)
    for folder in folders[:-RUNS_KEPT]:
        if not any(entry.being.alive for entry in roster.read(folder)):
            shutil.rmtree(folder, ignore_errors=True)


def _heal(part: Part) -> None:
    part.resume()
    part.start()
