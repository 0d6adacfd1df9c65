"""A real Kubernetes control plane on loopback: etcd, kube-apiserver, kube-controller-manager.

No node belongs to it; `pods` and `node` bring one. Each of the three servers is a Process of its own, so that a test
can pause, kill or restart just the API server. Flags: see the references of the three programs, release 1.36.
"""

import hashlib
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed import binaries, certificates, kubeconfig
from testbed.certificates import write_private
from testbed.kubectl import Kubectl
from testbed.processes import Yard
from testbed.wire import Wire

SERVICE_ADDRESS = "10.0.0.1"
# No node-lifecycle, endpoint or volume controllers: nothing here has a network or disks, and idle ones cost CPU.
CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemonset-controller",
    "deployment-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "statefulset-controller",
    "ttl-after-finished-controller",
)
_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


class ControlPlane:
    """The three servers, their authority and their administrator. Ports and data survive `stop` and `restart`."""

    def __init__(self, yard: Yard) -> None:
        self.folder = yard.folder / "controlplane"
        self.folder.mkdir(exist_ok=True, mode=0o700)
        self.etcd = yard.process("etcd")
        # In good order it would wait up to a minute for the watches of clients that do not hang up.
        self.apiserver = yard.process("kube-apiserver", patience=2.0)
        self.controller_manager = yard.process("kube-controller-manager")
        self._ports = {name: yard.port() for name in ("etcd", "peer", "api", "controllers")}
        self._authority = certificates.found("testbed-kubernetes")
        self.url = f"https://127.0.0.1:{self._ports['api']}"
        self.ca_pem = self._authority.pem
        self.admin_token = secrets.token_urlsafe(24)
        self.audit_log = yard.logs / "kubernetes-audit.log"
        self._prepare()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def kubectl(self) -> Kubectl:
        """kubectl as the administrator."""
        return Kubectl(self.kubeconfig())

    def start(self) -> None:
        """Start what does not run, in order, each when the one before it is ready (about three seconds)."""
        if not self.etcd.alive:
            self._start_etcd()
        self.start_api()
        if not self.controller_manager.alive:
            self._start_controllers()

    def start_api(self) -> None:
        """Start the API server only, if it does not run."""
        if not self.apiserver.alive:
            self.apiserver.start(self._api_command())
            self.apiserver.wait_until(lambda: self._admin().is_up("/readyz"), "ready")

    def stop(self) -> None:
        """Stop all three; an API server that outlives its etcd hangs in its shutdown, so etcd goes last."""
        for server in (self.controller_manager, self.apiserver, self.etcd):
            server.stop()

    def restart(self) -> None:
        """Stop and start all three, on the same ports and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let the API server hang: connections stay, answers do not come."""
        self.apiserver.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self.apiserver.resume()

    def kubeconfig(self, token: str = "", *, namespace: str = "default") -> Path:
        """Return a kubeconfig file for a bearer token (default: the administrator's)."""
        token = token or self.admin_token
        mark = hashlib.sha256(f"{namespace}/{token}".encode()).hexdigest()[:12]
        name = "admin" if (token, namespace) == (self.admin_token, "default") else mark
        text = kubeconfig.compose(url=self.url, ca_pem=self.ca_pem, token=token, namespace=namespace)
        return write_private(self.folder / f"kubeconfig-{name}", text)

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Send a request as the administrator and return the JSON body; BedError unless the status is 2xx."""
        return self._admin().call(method, path, body)

    def create_namespace(self, name: str) -> None:
        """Create a namespace and wait until pods can be made in it (its `default` ServiceAccount is there)."""
        self.api("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        self.controller_manager.wait_until(
            lambda: self._admin().ask("GET", account).status == 200, f"giving {name} its ServiceAccount"
        )

    def create_service_account(self, namespace: str, name: str) -> None:
        """Create a ServiceAccount."""
        self.api("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})

    def service_account_token(
        self, namespace: str, name: str, *, audiences: Sequence[str] = (), seconds: int = 3600
    ) -> str:
        """Return a fresh JWT of a ServiceAccount (TokenRequest, authentication.k8s.io/v1).

        Without audiences it is for the API server itself; `seconds` is at least 600.
        """
        body = {"spec": {"audiences": list(audiences) or None, "expirationSeconds": seconds}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        return str(self.api("POST", path, body)["status"]["token"])

    def _admin(self) -> Wire:
        return Wire(self.url, ca_pem=self.ca_pem, headers={"Authorization": f"Bearer {self.admin_token}"})

    def _prepare(self) -> None:
        """Write what the servers read at start: certificates, keys, tokens, the audit policy."""
        hosts = (
            "127.0.0.1", SERVICE_ADDRESS, "localhost",
            "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
        )  # fmt: skip
        certificate, key = self._authority.issue("kube-apiserver", hosts=hosts)
        signing, public = certificates.signing_pair()
        files = {
            "ca.crt": self.ca_pem,
            "server.crt": certificate,
            "server.key": key,
            "sa.key": signing,
            "sa.pub": public,
            "tokens.csv": f'{self.admin_token},admin,admin,"system:masters"\n',
            "audit-policy.json": json.dumps(_POLICY),
        }
        for name, text in files.items():
            write_private(self.folder / name, text)

    def _start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{self._ports[name]}" for name in ("etcd", "peer"))
        self.etcd.start(
            (
                binaries.find("etcd"),
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--unsafe-no-fsync",
                f"--quota-backend-bytes={4 * 2**30}",
                "--log-level=warn",
            )
        )
        self.etcd.wait_until(lambda: Wire(client).is_up("/health"), "healthy")

    def _api_command(self) -> Sequence[str | Path]:
        return (
            binaries.find("kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{self._ports['etcd']}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._ports['api']}",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            *self._serving(),
            f"--client-ca-file={self.folder / 'ca.crt'}",
            "--authorization-mode=Node,RBAC",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--allow-privileged=true",
            f"--service-account-issuer={self.url}",
            f"--service-account-jwks-uri={self.url}/openid/v1/jwks",
            f"--service-account-key-file={self.folder / 'sa.pub'}",
            f"--service-account-signing-key-file={self.folder / 'sa.key'}",
            f"--api-audiences={self.url}",
            f"--audit-policy-file={self.folder / 'audit-policy.json'}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-maxsize=2000",
        )

    def _start_controllers(self) -> None:
        port = self._ports["controllers"]
        self.controller_manager.start(
            (
                binaries.find("kube-controller-manager"),
                f"--kubeconfig={self.kubeconfig()}",
                "--bind-address=127.0.0.1",
                f"--secure-port={port}",
                *self._serving(),
                f"--root-ca-file={self.folder / 'ca.crt'}",
                f"--service-account-private-key-file={self.folder / 'sa.key'}",
                "--use-service-account-credentials",
                "--leader-elect=false",
                f"--controllers={','.join(CONTROLLERS)}",
                "--kube-api-qps=200",
                "--kube-api-burst=400",
            )
        )
        there = Wire(f"https://127.0.0.1:{port}", ca_pem=self.ca_pem)
        self.controller_manager.wait_until(lambda: there.is_up("/healthz"), "healthy")

    def _serving(self) -> tuple[str, ...]:
        """The certificate with which each Kubernetes server here answers, and where it may put others."""
        return (
            f"--tls-cert-file={self.folder / 'server.crt'}",
            f"--tls-private-key-file={self.folder / 'server.key'}",
            f"--cert-dir={self.folder}",
        )
