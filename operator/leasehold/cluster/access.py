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


def _keep() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Access:
    """The address, the TLS context (None for plain http) and the bearer token of the moment ("" without one)."""

    server: str
    tls: ssl.SSLContext | None
    token: Callable[[], SecretBytes]
    namespace: str = ""
    renew: Callable[[], None] = _keep
    """Take the next token from its source, whatever its age: the present one was refused."""


class TokenFile:
    """A token that somebody else replaces in a file; read at most once a minute."""

    def __init__(self, path: Path, monotonic: Callable[[], float]) -> None:
        """Take the file and a clock."""
        self._path, self._monotonic = path, monotonic
        self._token: SecretBytes | None = None
        self._until = float("-inf")

    def __call__(self) -> SecretBytes:
        """Return the token: where the file cannot be read, the last one for another minute.

        Raises:
            Misconfigured: the file cannot be read, and never could.
        """
        if self._token is None or self._monotonic() >= self._until:
            try:
                self._token = _token_of(self._path.read_bytes(), self._path)
            except OSError as error:
                problem: Misconfigured | None = Misconfigured(
                    f"the token file cannot be read: {error.strerror}",
                    path=str(self._path),
                    remedy="mount the ServiceAccount's token",
                )
            except Misconfigured as error:
                problem = error
            else:
                problem = None
            if problem is not None and self._token is None:
                raise problem from None
            self._until = self._monotonic() + REREAD
        assert self._token is not None
        return self._token

    def renew(self) -> None:
        """Read the file at the next call."""
        self._until = float("-inf")


def _token_of(raw: bytes, path: Path) -> SecretBytes:
    """Return the token in some text.

    Raises:
        Misconfigured: it is none, or could not be sent in a header.
    """
    token = raw.strip()
    if not token or not all(0x21 <= byte < 0x7F for byte in token):
        raise Misconfigured("it holds no token", path=str(path), remedy="write one bearer token into it")
    return SecretBytes(token)


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
    namespace, token = folder / "namespace", TokenFile(folder / "token", monotonic)
    return Access(
        server=f"https://{address}:{port}",
        tls=_trust(_read(folder / "ca.crt", folder), folder / "ca.crt"),
        token=token,
        namespace=namespace.read_text(encoding="utf-8").strip() if namespace.is_file() else "",
        renew=token.renew,
    )


def from_kubeconfig(path: Path, monotonic: Callable[[], float]) -> Access:
    """Return the access of a kubeconfig's current context.

    Raises:
        Misconfigured: the file or its context is incomplete, or asks for something that is not supported.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        raise Misconfigured("the kubeconfig cannot be read", path=str(path), remedy="check the file") from None
    if not isinstance(config, dict):
        raise Misconfigured("the kubeconfig is no mapping", path=str(path), remedy="check the file")
    context = _named(config, "context", config.get("current-context", ""), path)
    cluster = _named(config, "cluster", context.get("cluster", ""), path)
    user = _named(config, "user", context.get("user", ""), path)
    server = str(cluster.get("server", "")).rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise Misconfigured("the cluster has no server", path=str(path), remedy="set clusters[].cluster.server")
    for section, field in ((cluster, "tls-server-name"), (cluster, "proxy-url"), (user, "as")):
        if section.get(field):
            raise Misconfigured(f"{field} is not supported", path=str(path), remedy="use a context without it")
    token, renew = _token(user, path, monotonic)
    return Access(
        server=server,
        tls=_tls(cluster, user, path) if server.startswith("https") else None,
        token=token,
        namespace=str(context.get("namespace") or ""),
        renew=renew,
    )


def _named(config: Mapping[str, Any], section: str, name: str, path: Path) -> Mapping[str, Any]:
    """Return what stands under a name in a list of a kubeconfig."""
    for entry in config.get(f"{section}s") or ():
        if entry.get("name") == name and isinstance(entry.get(section), dict):
            return entry[section]  # type: ignore[no-any-return]
    raise Misconfigured(f"{section}s has no entry {name!r}", path=str(path), remedy="set current-context")


def _trust(authority: bytes, path: Path) -> ssl.SSLContext:
    """Return a TLS context that trusts an authority (b"": those of the machine)."""
    try:
        return ssl.create_default_context(cadata=authority.decode("ascii") if authority else None)
    except (ssl.SSLError, ValueError):
        raise Misconfigured(
            "the certificate authority is no PEM certificate", path=str(path), remedy="check it"
        ) from None


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], path: Path) -> ssl.SSLContext:
    context = _trust(_material(cluster, "certificate-authority", path), path)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    certificate, key = _material(user, "client-certificate", path), _material(user, "client-key", path)
    if certificate and key:
        with tempfile.TemporaryDirectory() as folder:  # the ssl module takes files only
            files = Path(folder) / "tls.crt", Path(folder) / "tls.key"
            for file, content in zip(files, (certificate, key), strict=True):
                file.touch(mode=0o600)
                file.write_bytes(content)
            try:
                context.load_cert_chain(*files)
            except (ssl.SSLError, OSError):
                problem = "the client certificate and its key are no pair of PEM files"
                raise Misconfigured(problem, path=str(path), remedy="check the user") from None
    return context


def _material(section: Mapping[str, Any], field: str, path: Path) -> bytes:
    """Return the bytes of <field>-data or of the file <field>, b"" without either."""
    if data := section.get(f"{field}-data"):
        try:
            return base64.b64decode(str(data), validate=True)
        except ValueError:
            raise Misconfigured(f"{field}-data is no base64", path=str(path), remedy="check the file") from None
    if name := section.get(field):
        return _read(path.parent / str(name), path)
    return b""


def _read(file: Path, path: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        raise Misconfigured(f"{file.name} cannot be read", path=str(path), remedy="check the file") from None


def _token(
    user: Mapping[str, Any], path: Path, monotonic: Callable[[], float]
) -> tuple[Callable[[], SecretBytes], Callable[[], None]]:
    """Return how a kubeconfig's user says who he is, and how that is renewed. A file wins, as for kubectl."""
    if name := user.get("tokenFile"):
        file = TokenFile(path.parent / str(name), monotonic)
        return file, file.renew
    if token := user.get("token"):
        held = _token_of(str(token).encode(), path)
        return lambda: held, _keep
    if user.get("exec") or user.get("auth-provider"):
        return _plugin(path), _keep
    return lambda: SecretBytes(b""), _keep


def _plugin(path: Path) -> Callable[[], SecretBytes]:
    """Return the token of an exec plug-in, by way of the official client where it is installed.

    That client runs the plug-in now, and again whenever the token that it gave has ended.
    """
    try:
        from kubernetes import config as official  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise Misconfigured(
            "the user logs in by a plug-in", path=str(path), remedy="install leasehold[kubernetes], or use a token"
        ) from None
    failed = Misconfigured("the plug-in gives no token", path=str(path), remedy="run kubectl with it to see why")
    try:
        loaded = official.new_client_from_config(config_file=str(path)).configuration
    except official.ConfigException:
        raise failed from None

    def token() -> SecretBytes:
        header = str(loaded.get_api_key_with_prefix("BearerToken", alias="authorization") or "")
        if not header:
            raise failed
        return _token_of(header.removeprefix("Bearer ").encode(), path)

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
