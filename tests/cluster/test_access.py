"""Where the API server is and who we are, from every form in which a user may say it."""

import base64
import os
import socket
import ssl
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from leasehold.cluster import access
from leasehold.cluster.access import REREAD, TokenFile
from leasehold.domain.errors import Misconfigured
from leasehold.domain.values import SecretBytes
from testbed import certificates
from tests.contracts.canary import assert_clean
from tests.worlds.clock import ManualClock

CLOCK = ManualClock()
AUTHORITY = certificates.found("tests")


def written(folder: Path, *, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> Path:
    """Write a kubeconfig."""
    given = {"server": "https://10.0.0.1:6443", "certificate-authority-data": b64(AUTHORITY.pem)}
    config = {
        "current-context": "here",
        "contexts": [
            {"name": "there", "context": {"cluster": "x", "user": "x"}},
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
        ],
        "clusters": [{"name": "c", "cluster": given if cluster is None else cluster}],
        "users": [{"name": "u", "user": {"token": "canary"} if user is None else user}],
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(config))
    return path


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def read(path: Path) -> access.Access:
    return access.from_kubeconfig(path, CLOCK.monotonic)


# -------------------------------------------------------------------------------------------------------- kubeconfig


def test_a_token(tmp_path: Path) -> None:
    found = read(written(tmp_path, user={"token": " canary\n"}))
    assert (found.server, found.namespace) == ("https://10.0.0.1:6443", "shop")
    assert found.token() == SecretBytes("canary")
    assert found.tls is not None
    assert found.tls.verify_mode is ssl.CERT_REQUIRED
    assert found.tls.check_hostname
    assert_clean(found)


def test_files_are_found_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text(AUTHORITY.pem)
    (tmp_path / "token").write_text("canary\n")
    cluster = {"server": "https://[::1]:6443/", "certificate-authority": "ca.crt"}
    found = read(written(tmp_path, cluster=cluster, user={"tokenFile": "token"}))
    assert found.server == "https://[::1]:6443"
    assert found.token() == SecretBytes("canary")
    assert found.tls is not None
    assert len(found.tls.get_ca_certs()) == 1


def test_a_client_certificate(tmp_path: Path) -> None:
    certificate, key = AUTHORITY.issue("operator", hosts=("operator",))
    user = {"client-certificate-data": b64(certificate), "client-key-data": b64(key)}
    found = read(written(tmp_path, user=user))
    assert found.token() == SecretBytes(b"")
    _, other = AUTHORITY.issue("other", hosts=("other",))
    with pytest.raises(Misconfigured, match="no pair") as caught:
        read(written(tmp_path, user={**user, "client-key-data": b64(other)}))
    assert_clean(caught.value, secrets=(other, key))


def test_plain_http_has_no_tls(tmp_path: Path) -> None:
    assert read(written(tmp_path, cluster={"server": "http://127.0.0.1:8001"})).tls is None


def test_trust_without_authority_is_that_of_the_machine(tmp_path: Path) -> None:
    found = read(written(tmp_path, cluster={"server": "https://10.0.0.1"}))
    assert found.tls is not None
    assert found.tls.verify_mode is ssl.CERT_REQUIRED


def test_verification_is_left_out_only_where_that_is_written(tmp_path: Path) -> None:
    found = read(written(tmp_path, cluster={"server": "https://10.0.0.1", "insecure-skip-tls-verify": True}))
    assert found.tls is not None
    assert found.tls.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no mapping"),
        ("- a list", "no mapping"),
        ("a: [canary", "cannot be read"),
        ("current-context: here", "contexts has no entry 'here'"),
        ("{current-context: a, contexts: [{name: a}]}", "contexts has no entry 'a'"),
        ("{current-context: a, contexts: [{name: a, context: {cluster: b}}]}", "clusters has no entry 'b'"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(Misconfigured, match=problem) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert_clean(caught.value)


@pytest.mark.parametrize(
    ("cluster", "user", "problem"),
    [
        ({}, {"token": "x"}, "has no server"),
        ({"server": "10.0.0.1"}, {"token": "x"}, "has no server"),
        ({"server": "https://x", "certificate-authority": "gone.crt"}, {}, "gone.crt cannot be read"),
        ({"server": "https://x", "certificate-authority-data": "canary!"}, {}, "no base64"),
        ({"server": "https://x", "certificate-authority-data": b64("canary")}, {}, "no PEM"),
        ({"server": "https://x", "tls-server-name": "y"}, {}, "tls-server-name is not supported"),
        ({"server": "https://x", "proxy-url": "http://y"}, {}, "proxy-url is not supported"),
        ({"server": "https://x"}, {"as": "root"}, "as is not supported"),
        ({"server": "https://x"}, {"token": "canary\ncanary"}, "holds no token"),
        ({"server": "https://x"}, {"token": "canary é"}, "holds no token"),
    ],
)
def test_what_cannot_work_is_said_at_start(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], problem: str
) -> None:
    with pytest.raises(Misconfigured, match=problem) as caught:
        read(written(tmp_path, cluster=cluster, user=user))
    assert caught.value.remedy
    assert_clean(caught.value)


def test_an_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        read(tmp_path / "gone")


# ----------------------------------------------------------------------------------------------------------- plug-ins

PLUGIN = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "aws"}}


def test_a_plugin_without_the_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(Misconfigured, match=r"plug-in.*install leasehold\[kubernetes\]"):
        read(written(tmp_path, user=PLUGIN))


class Official(types.ModuleType):
    """What we use of the official client: a configuration that runs the plug-in when its token has ended."""

    class ConfigException(Exception):
        pass

    def __init__(self, run: Callable[[], str]) -> None:
        super().__init__("kubernetes")
        self.config = self
        self.run = run
        self.asked = 0

    def new_client_from_config(self, config_file: str) -> Any:
        """Run the plug-in the first time."""
        self.asked += 1
        held = self.run()

        def bearer(name: str, alias: str) -> str:
            assert (name, alias) == ("BearerToken", "authorization")  # the names of releases from and before 36
            return f"Bearer {held}" if held else ""

        return types.SimpleNamespace(configuration=types.SimpleNamespace(get_api_key_with_prefix=bearer))


def test_a_plugin_with_the_extra_is_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official = Official(lambda: "canary")
    monkeypatch.setitem(sys.modules, "kubernetes", official)
    found = read(written(tmp_path, user=PLUGIN))
    assert [found.token(), found.token()] == [SecretBytes("canary")] * 2
    assert official.asked == 1


def test_a_plugin_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise Official.ConfigException("canary")

    monkeypatch.setitem(sys.modules, "kubernetes", Official(fail))
    with pytest.raises(Misconfigured, match="gives no token") as caught:
        read(written(tmp_path, user=PLUGIN))
    assert_clean(caught.value)


def test_a_plugin_that_fails_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official = Official(lambda: "")
    monkeypatch.setitem(sys.modules, "kubernetes", official)
    found = read(written(tmp_path, user=PLUGIN))
    for _ in range(2):
        with pytest.raises(Misconfigured, match="gives no token"):
            found.token()


# ------------------------------------------------------------------------------------------------------------ the pod


def pod(folder: Path) -> Path:
    (folder / "token").write_text("canary")
    (folder / "ca.crt").write_text(AUTHORITY.pem)
    (folder / "namespace").write_text("leasehold-system\n")
    return folder


@pytest.mark.parametrize(
    ("host", "server"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_the_pod_is_told_by_the_kubelet(tmp_path: Path, host: str, server: str) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}
    found = access.from_pod(pod(tmp_path), CLOCK.monotonic, environ=environ)
    assert (found.server, found.namespace) == (server, "leasehold-system")
    assert found.token() == SecretBytes("canary")


def test_a_pod_without_authority(tmp_path: Path) -> None:
    pod(tmp_path)
    (tmp_path / "ca.crt").unlink()
    with pytest.raises(Misconfigured, match=r"ca\.crt cannot be read"):
        access.from_pod(tmp_path, CLOCK.monotonic, environ={"KUBERNETES_SERVICE_HOST": "10.0.0.1"})


def test_no_name_is_resolved_and_no_user_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a uid without passwd entry, in a cluster without DNS")

    for name in ("getaddrinfo", "gethostbyname", "gethostname", "getfqdn"):
        monkeypatch.setattr(socket, name, never)
    for name in ("getlogin", "getuid"):
        monkeypatch.setattr(os, name, never)
    monkeypatch.setattr(Path, "home", never)
    monkeypatch.setattr(os.path, "expanduser", never)
    environ = {"KUBERNETES_SERVICE_HOST": "kubernetes.default.svc"}
    access.from_pod(pod(tmp_path), CLOCK.monotonic, environ=environ)
    access.find(str(written(tmp_path)), CLOCK.monotonic, environ={})


def test_who_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, mounted = tmp_path / "home", tmp_path / "pod"
    (home / ".kube").mkdir(parents=True)
    mounted.mkdir()
    written(home / ".kube", cluster={"server": "http://home"})
    monkeypatch.setattr(access, "POD", pod(mounted))
    environ = {"HOME": str(home), "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    given = str(written(tmp_path, cluster={"server": "http://given"}))
    missing = str(tmp_path / "gone")

    def server(kubeconfig: str, environ: dict[str, str]) -> str:
        return access.find(kubeconfig, CLOCK.monotonic, environ=environ).server

    assert server(given, environ) == "http://given"
    assert server(os.pathsep.join([missing, given]), environ) == "http://given"
    assert server("", environ) == "https://10.0.0.1:443"
    assert server("", {"HOME": str(home)}) == "http://home"
    with pytest.raises(Misconfigured, match="no Kubernetes cluster is known"):
        server("", {"HOME": missing})
    with pytest.raises(Misconfigured, match="cannot be read"):
        server(missing, environ)  # what was asked for is not replaced by something else


# ------------------------------------------------------------------------------------------------------------- tokens


def test_a_token_file_is_read_again_after_a_minute(tmp_path: Path) -> None:
    clock, path = ManualClock(), tmp_path / "token"
    path.write_text("one\n")
    token = TokenFile(path, clock.monotonic)
    assert token() == SecretBytes("one")
    path.write_text("two")
    clock.advance(REREAD - 1)
    assert token() == SecretBytes("one")
    clock.advance(1)
    assert token() == SecretBytes("two")


def test_a_token_that_was_refused_is_read_again_at_once(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    token = TokenFile(path, CLOCK.monotonic)
    assert token() == SecretBytes("one")
    path.write_text("two")
    token.renew()
    assert token() == SecretBytes("two")


def test_a_token_file_that_vanishes_leaves_us_the_last_token(tmp_path: Path) -> None:
    clock, path = ManualClock(), tmp_path / "token"
    path.write_text("one")
    token = TokenFile(path, clock.monotonic)
    token()
    for broken in (path.unlink, lambda: path.write_text("")):
        broken()
        clock.advance(REREAD)
        assert token() == SecretBytes("one")
    path.write_text("two")
    clock.advance(REREAD)
    assert token() == SecretBytes("two")


@pytest.mark.parametrize("text", [None, "", "two words", "canary\n2"])
def test_a_token_file_that_never_held_one(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "token"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Misconfigured) as caught:
        TokenFile(path, CLOCK.monotonic)()
    assert str(path) in str(caught.value)
    assert_clean(caught.value)


def jwt(claims: object) -> SecretBytes:
    body = base64.urlsafe_b64encode(orjson.dumps(claims)).decode().rstrip("=")
    return SecretBytes(f"head.{body}.sign")


@pytest.mark.parametrize(
    ("token", "account"),
    [
        (jwt({"sub": "system:serviceaccount:shop:app"}), ("shop", "app")),
        (jwt({"sub": "alice"}), None),
        (jwt({}), None),
        (jwt([]), None),
        (SecretBytes("no jwt"), None),
        (SecretBytes("a.!.c"), None),
        (SecretBytes(b"a.\xff\xff.c"), None),
    ],
)
def test_the_account_that_a_token_names(token: SecretBytes, account: tuple[str, str] | None) -> None:
    assert access.service_account(token) == account
