"""Where the API server is and who we are: the pod's own account, or a kubeconfig. The first found wins.

No cluster DNS is needed (the kubelet's KUBERNETES_SERVICE_HOST is used) and no passwd entry: nothing asks for a user
or host name.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from leasehold.domain.errors import Misconfigured
from leasehold.domain.values import SecretBytes

POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
REREAD = 60.0
"""Seconds after which a token file is read again: the kubelet replaces it before it ends."""


@dataclass(frozen=True, slots=True)
class Access:
    """The address, the TLS context (None for plain http) and the bearer token of the moment ("" without one)."""

    server: str
    tls: ssl.SSLContext | None
    token: Callable[[], SecretBytes]
    namespace: str = ""


class TokenFile:
    """A token that somebody else replaces in a file; read at most once a minute."""

    def __init__(self, path: Path, monotonic: Callable[[], float]) -> None:
        """Take the file and a clock."""
        self._path, self._monotonic = path, monotonic
        self._token = SecretBytes(b"")
        self._until = float("-inf")

    def __call__(self) -> SecretBytes:
        """Return the token.

        Raises:
            Misconfigured: the file cannot be read.
        """
        if self._monotonic() >= self._until:
            try:
                self._token = SecretBytes(self._path.read_bytes().strip())
            except OSError as error:
                raise Misconfigured(
                    f"the token file cannot be read: {error.strerror}",
                    path=str(self._path),
                    remedy="mount the ServiceAccount's token",
                ) from None
            self._until = self._monotonic() + REREAD
        return self._token


def find(kubeconfig: str, monotonic: Callable[[], float], *, environ: Mapping[str, str] | None = None) -> Access:
    """Return the access that ``kubeconfig`` (a path, or several joined by the path separator), the pod, or the home
    folder gives.

    Raises:
        Misconfigured: there is none, or it is incomplete.
    """
    environ = os.environ if environ is None else environ
    paths = [Path(part) for part in kubeconfig.split(os.pathsep) if part]
    if paths:
        return from_kubeconfig(next((path for path in paths if path.is_file()), paths[0]), monotonic)
    if (POD / "token").is_file() and environ.get("KUBERNETES_SERVICE_HOST"):
        return from_pod(POD, monotonic, environ=environ)
    home = Path(environ.get("HOME", "/")) / ".kube" / "config"
    if home.is_file():
        return from_kubeconfig(home, monotonic)
    raise Misconfigured(
        "no Kubernetes cluster is known", remedy="set KUBECONFIG or --kubeconfig, or run in a pod with a ServiceAccount"
    )


def from_pod(folder: Path, monotonic: Callable[[], float], *, environ: Mapping[str, str]) -> Access:
    """Return the access of the pod's own ServiceAccount."""
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    address = f"[{host}]" if ":" in host else host
    namespace = folder / "namespace"
    return Access(
        server=f"https://{address}:{port}",
        tls=ssl.create_default_context(cafile=str(folder / "ca.crt")),
        token=TokenFile(folder / "token", monotonic),
        namespace=namespace.read_text(encoding="utf-8").strip() if namespace.is_file() else "",
    )


def from_kubeconfig(path: Path, monotonic: Callable[[], float]) -> Access:
    """Return the access of a kubeconfig's current context.

    Raises:
        Misconfigured: the file or its context is incomplete, or the user's kind of login is not supported.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        raise Misconfigured("the kubeconfig cannot be read", path=str(path), remedy="check the file") from None
    context = _named(config, "contexts", config.get("current-context", ""), path)["context"]
    cluster = _named(config, "clusters", context.get("cluster", ""), path)["cluster"]
    user = _named(config, "users", context.get("user", ""), path)["user"]
    server = str(cluster.get("server", "")).rstrip("/")
    return Access(
        server=server,
        tls=_tls(cluster, user, path) if server.startswith("https") else None,
        token=_token(user, path, monotonic),
        namespace=str(context.get("namespace") or ""),
    )


def _named(config: Mapping[str, Any], section: str, name: str, path: Path) -> Mapping[str, Any]:
    for entry in config.get(section) or ():
        if entry.get("name") == name:
            return entry  # type: ignore[no-any-return]
    raise Misconfigured(f"{section} has no entry {name!r}", path=str(path), remedy="set current-context")


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], path: Path) -> ssl.SSLContext:
    authority = _material(cluster, "certificate-authority", path)
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    certificate, key = _material(user, "client-certificate", path), _material(user, "client-key", path)
    if certificate and key:
        with tempfile.TemporaryDirectory() as folder:  # the ssl module takes files only
            files = Path(folder) / "tls.crt", Path(folder) / "tls.key"
            for file, content in zip(files, (certificate, key), strict=True):
                file.touch(mode=0o600)
                file.write_bytes(content)
            context.load_cert_chain(*files)
    return context


def _material(section: Mapping[str, Any], field: str, path: Path) -> bytes:
    """Return the bytes of <field>-data or of the file <field>, b"" without either."""
    if data := section.get(f"{field}-data"):
        try:
            return base64.b64decode(data)
        except binascii.Error:
            raise Misconfigured(f"{field}-data is no base64", path=str(path), remedy="check the file") from None
    if name := section.get(field):
        try:
            return (path.parent / str(name)).read_bytes()
        except OSError:
            raise Misconfigured(f"{field} cannot be read", path=str(path), remedy="check the file") from None
    return b""


def _token(user: Mapping[str, Any], path: Path, monotonic: Callable[[], float]) -> Callable[[], SecretBytes]:
    if token := user.get("token"):
        held = SecretBytes(str(token))
        return lambda: held
    if name := user.get("tokenFile"):
        return TokenFile(path.parent / str(name), monotonic)
    if user.get("exec") or user.get("auth-provider"):
        return _plugin(path)
    return lambda: SecretBytes(b"")


def _plugin(path: Path) -> Callable[[], SecretBytes]:
    """Return the token of an exec plug-in, by way of the official client where it is installed."""
    try:
        from kubernetes import config as official  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise Misconfigured(
            "the user logs in by a plug-in", path=str(path), remedy="install leasehold[kubernetes], or use a token"
        ) from None

    def token() -> SecretBytes:
        loaded = official.new_client_from_config(config_file=str(path)).configuration
        header = str(loaded.get_api_key_with_prefix("authorization") or "")
        return SecretBytes(header.removeprefix("Bearer ").strip())

    return token


def service_account(token: SecretBytes) -> tuple[str, str] | None:
    """Return namespace and name of the ServiceAccount that a JWT names, None where it names none (unverified)."""
    parts = token.reveal().split(b".")
    if len(parts) != 3:
        return None
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
        subject = str(claims.get("sub", ""))
    except (ValueError, binascii.Error, AttributeError):
        return None
    prefix = "system:serviceaccount:"
    if not subject.startswith(prefix):
        return None
    namespace, _, name = subject.removeprefix(prefix).partition(":")
    return namespace, name
