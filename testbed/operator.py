"""The operator under test: a process under its own ServiceAccount's token, with the chart's RBAC and nothing more.

Demo, live tests and benchmarks all start it here, so that none of them runs it with rights that a user's would not
have.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from testbed import cache
from testbed.controlplane import ControlPlane
from testbed.processes import Process, Yard
from testbed.vault import Vault
from testbed.wire import Wire
from tools import rbac

ROOT = Path(__file__).resolve().parent.parent
NAMESPACE = "leasehold-system"
ACCOUNT = "leasehold"
VAULT_ROLE = "leasehold-operator"
TOKEN_LIFE = 24 * 3600
PATIENCE = 30.0


class Operator:
    """One operator process. `start`, `stop` (SIGTERM), `kill` (SIGKILL), `pause` and `resume` as with any server."""

    def __init__(
        self,
        yard: Yard,
        control_plane: ControlPlane,
        *,
        name: str = "operator",
        namespace: str = NAMESPACE,
        scoped: str = "",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Take where it runs; `settings` are further environment variables (LEASEHOLD_…)."""
        self.yard, self.control_plane = yard, control_plane
        self.namespace, self.scoped = namespace, scoped
        self.settings = dict(settings or {})
        self.wrapper: tuple[str, ...] = ()
        """The command that runs it, such as one that gives up root first; it must end in an exec."""
        self.process: Process = yard.process(name, patience=40.0)
        self._metrics, self._live = yard.port(), yard.port()
        self._kubeconfig: Path | None = None

    def install(self) -> None:
        """Create the namespace, the CRDs, the ServiceAccount and the chart's RBAC."""
        plane = self.control_plane
        definitions = ROOT / "crds"
        plane.kubectl.apply_files(definitions)
        plane.kubectl.run("wait", "--for=condition=Established", "--timeout=30s", f"--filename={definitions}")
        account = f"/api/v1/namespaces/{self.namespace}/serviceaccounts"
        plane.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        wire = Wire(plane.url, ca_pem=plane.ca_pem, headers={"Authorization": f"Bearer {plane.admin_token}"})
        plane.controller_manager.wait_until(
            lambda: wire.ask("GET", f"{account}/default").status == 200, f"giving {self.namespace} its ServiceAccount"
        )
        for manifest in rbac.manifests(self.namespace, ACCOUNT, self.scoped or None):
            where = manifest["metadata"].get("namespace", "default")
            plane.kubectl.apply(manifest, namespace=where)

    def trust(self, vault: Vault) -> None:
        """Give the operator its own Vault identity: the role and the policy that `leasehold policy` prints."""
        from leasehold.providers.vault import policy

        vault.write_policy(VAULT_ROLE, policy.operator_policy())
        vault.kubernetes_role(
            VAULT_ROLE, namespaces=[self.namespace], accounts=[ACCOUNT], policies=[VAULT_ROLE], audience="vault"
        )
        self.settings |= {"LEASEHOLD_VAULT_OPERATOR_ROLE": VAULT_ROLE, "LEASEHOLD_VAULT_OPERATOR_AUDIENCE": "vault"}

    def start(self, *, wait: bool = True) -> None:
        """Start it; `wait` until it says that it is ready."""
        if self._kubeconfig is None:
            token = self.control_plane.service_account_token(self.namespace, ACCOUNT, seconds=TOKEN_LIFE)
            self._kubeconfig = self.control_plane.kubeconfig(token)
        environ = {
            "KUBECONFIG": str(self._kubeconfig),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "operator"), str(ROOT)]),
            # as in the image: compiled once, not at every start
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(cache.locate_root(os.environ) / "pycache"),
            "POD_NAMESPACE": self.namespace,
            "LEASEHOLD_METRICS_ADDR": f"127.0.0.1:{self._metrics}",
            "LEASEHOLD_LIVE_ADDR": f"127.0.0.1:{self._live}",
            "LEASEHOLD_NAMESPACE": self.scoped,
            **self.settings,
        }
        self.process.start([*self.wrapper, sys.executable, "-m", "leasehold", "run"], environ=environ)
        if wait:
            self.process.wait_until(self.is_ready, "getting ready", patience=PATIENCE)

    @property
    def live_url(self) -> str:
        """Where /healthz, /livez and /readyz are."""
        return f"http://127.0.0.1:{self._live}"

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        return Wire(self.live_url).is_up("/readyz")

    def metrics(self) -> str:
        """Return the metrics page."""
        import urllib.request

        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/metrics", timeout=10) as response:
            return str(response.read().decode())

    def stop(self) -> None:
        """End it as Kubernetes does: SIGTERM, and its grace period."""
        self.process.stop()

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()

    def restart(self) -> None:
        """Stop and start it again."""
        self.stop()
        self.start()

    @property
    def user(self) -> str:
        """Its name in the API server's audit log."""
        return f"system:serviceaccount:{self.namespace}:{ACCOUNT}"
