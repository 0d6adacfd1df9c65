"""What servers do on bad days, to the running operator: it says which server and why, keeps the last good Secret, and
goes on by itself once the server is back; of each leased source there is one live lease then.

A test mends the cause and touches nothing else: no annotation, no restart, unless the restart is the bad day.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import certificates
from testbed.controlplane import ControlPlane
from testbed.mounts import Mount
from testbed.operator import ROOT, Operator
from testbed.postgres import Postgres
from testbed.processes import Yard
from testbed.vault import Vault
from testbed.wire import Answer, Wire
from tests.live.cast import NAMESPACE, Cast, engage

NOBODY = 65532
API_OUTAGE = 10.0


@pytest.fixture(scope="module")
def operator(yard: Yard, control_plane: ControlPlane, vault: Vault, kubernetes_auth: str) -> Iterator[Operator]:
    """The operator of this module."""
    with engage(yard, control_plane, vault, name="operator-bad-servers") as operator:
        yield operator


@pytest.fixture
def cast(operator: Operator, control_plane: ControlPlane, vault: Vault, mount: Mount, namespace: str) -> Cast:
    """A user whose ExternalSecret `app` is synced."""
    cast = Cast(operator, control_plane, vault, mount, namespace)
    cast.settle()
    cast.want()
    cast.wait_ready(password="one")
    return cast


@pytest.fixture
def leased(cast: Cast, database: str) -> str:
    """A database role, by which the ExternalSecret `db` of the user holds one lease; its name."""
    role = cast.namespace
    cast.vault.database_role(role)
    cast.vault.write_policy(role, f'path "{database}/creds/{role}" {{ capabilities = ["read"] }}')
    cast.allow(policies=[role], token_period="24h")
    cast.lease("db", f"{database}/creds/{role}")
    cast.wait_ready("db")
    assert cast.leases(role) == 1
    return role


def mint_anew(cast: Cast, role: str) -> None:
    """Change what the generator says, in a way that asks for another credential."""
    cast.lease("db", f"database/creds/{role}", allowEmptyResponse=True)


def records(cast: Cast) -> list[dict[str, object]]:
    """Return the sources in the operator's lease record of `db`."""
    items = cast.plane.api("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets")["items"]
    mine = f"{cast.namespace}/db"
    return [
        source
        for item in items
        if mine in (item["metadata"].get("annotations") or {}).values()
        for text in item["data"].values()
        for source in json.loads(base64.b64decode(text))["sources"].values()
    ]


# ---------------------------------------------------------------------------------------------------------------- Vault


def test_vault_is_sealed(cast: Cast) -> None:
    with cast.keeping():
        cast.vault.seal()
        cast.wait_unusable(f"Vault at {cast.vault.url} is sealed", "unseal it")
    cast.vault.unseal()
    cast.mount.put("app", {"password": "two"})
    cast.wait_ready(password="two", patience=45.0)


def test_vault_hangs(cast: Cast) -> None:
    with cast.keeping():
        cast.vault.pause()
        cast.wait_unusable(f"Vault at {cast.vault.url} does not answer in time", patience=60.0)
    cast.vault.resume()
    cast.mount.put("app", {"password": "two"})
    cast.wait_ready(password="two", patience=45.0)


def test_vault_is_down(cast: Cast) -> None:
    with cast.keeping():
        cast.vault.stop()
        cast.wait_unusable(f"Vault at {cast.vault.url} refuses connections", "start it")
    cast.vault.start()
    cast.mount.put("app", {"password": "two"})
    cast.wait_ready(password="two", patience=45.0)


def test_vault_shows_a_certificate_of_another_authority(cast: Cast, yard: Yard) -> None:
    with Vault(yard, name="vault-tls", storage="memory", tls=True) as secure:
        secure.configure_kubernetes_auth(cast.plane)
        there = Mount.create(secure)
        there.put("app", {"password": "one"})
        role = there.kubernetes_role(namespace=cast.namespace, accounts=["app"], audience="vault")

        def store(authority: str) -> None:
            bundle = base64.b64encode(authority.encode()).decode()
            cast.store(vault=secure, role=role, path=there.path, caBundle=bundle)

        store(secure.ca_pem)
        cast.wait_ready()
        with cast.keeping():
            store(certificates.found("somebody-else").pem)
            cast.wait_unusable(f"the certificate of Vault at {secure.url} is not trusted", "provider.vault.caBundle")
        there.put("app", {"password": "two"})
        store(secure.ca_pem)
        cast.wait_ready(password="two")


def test_a_vault_namespace_that_the_server_ignores(cast: Cast) -> None:
    with cast.keeping():
        cast.store(namespace="team-a")
        cast.wait_unusable("has no namespaces", "(provider.vault.namespace)", "remove the namespace")
    cast.mount.put("app", {"password": "two"})
    cast.store()
    cast.wait_ready(password="two")


# ----------------------------------------------------------------------------------------------------------- PostgreSQL


def test_postgres_is_down_while_a_credential_is_minted(cast: Cast, leased: str, postgres: Postgres) -> None:
    with cast.keeping("db") as before:
        postgres.stop()
        mint_anew(cast, leased)
        cast.wait_failed("db", containing=("cannot reach", f"(database/creds/{leased})", "tried again by itself"))
    postgres.start()
    cast.until("another credential", lambda: cast.secret("db") != before)
    after = cast.wait_ready("db")
    assert after.values["username"] != before.values["username"]
    cast.until("one lease to be left", lambda: cast.leases(leased) == 1)
    assert postgres.query("SELECT 1", user=after.values["username"], password=after.values["password"]) == [["1"]]


def test_the_operator_ends_while_a_credential_is_minted(cast: Cast, leased: str, postgres: Postgres) -> None:
    with cast.keeping("db") as before:
        postgres.pause()
        mint_anew(cast, leased)
        cast.until("the intent to mint", lambda: any(source["intent"] for source in records(cast)))
        cast.operator.stop()
    postgres.resume()
    cast.operator.start()
    cast.until("another credential", lambda: cast.secret("db") != before)
    after = cast.wait_ready("db")
    cast.until("one lease to be left", lambda: cast.leases(leased) == 1)
    cast.until("no intent to be left", lambda: [source["intent"] for source in records(cast)] == [None])
    assert postgres.query("SELECT 1", user=after.values["username"], password=after.values["password"]) == [["1"]]


# ----------------------------------------------------------------------------------------------------------- API server


def test_the_api_server_is_down(cast: Cast) -> None:
    before = cast.wait_ready()
    cast.plane.apiserver.stop()
    back = time.monotonic() + API_OUTAGE
    cast.mount.put("app", {"password": "two"})
    cast.until("the outage to be over", lambda: time.monotonic() >= back)
    cast.plane.start_api()
    after = cast.wait_ready(password="two", patience=45.0)
    assert after.version != before.version
    # and it hears again what users do
    cast.mount.put("other", {"password": "three"})
    cast.want("other", remote="other")
    cast.wait_ready("other", "three")


def test_the_definitions_are_missing_at_the_start(yard: Yard) -> None:
    with Yard(yard.folder / "bare") as own, ControlPlane(own) as plane:
        operator = Operator(own, plane, namespace=NAMESPACE)
        operator.install()
        definitions = ROOT / "crds"
        plane.kubectl.run("delete", f"--filename={definitions}")
        operator.start(wait=False)
        live = Wire(f"http://127.0.0.1:{operator._live}")

        def told() -> bool:
            try:
                answer: Answer = live.ask("GET", "/readyz")
            except OSError:
                return False
            text = json.dumps(answer.body)
            return answer.status == 503 and "externalsecrets.external-secrets.io" in text and "apply crds/" in text

        operator.process.wait_until(told, "telling what is missing", patience=30.0)
        plane.kubectl.apply_files(definitions)
        operator.process.wait_until(operator.is_ready, "getting ready", patience=30.0)
        operator.stop()


# --------------------------------------------------------------------------------------------------------------- itself


def test_a_user_whom_the_machine_does_not_know(cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disguise = ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
    who = "import os, pwd; assert os.getuid() == 65532; pwd.getpwuid(65532)"
    try:
        seen = subprocess.run([*disguise, sys.executable, "-c", who], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare here, to run as a user without a name")
    if "KeyError" not in seen.stderr:
        pytest.skip(f"no user namespace here in which {NOBODY} has no name: {seen.stderr.strip()}")
    launcher = tmp_path / "python"
    launcher.write_text(f'#!/bin/sh\nexec {" ".join(disguise)} {sys.executable} "$@"\n', encoding="utf-8")
    launcher.chmod(0o755)
    cast.operator.stop()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(launcher))
        patched.setenv("HOME", "/nowhere")
        for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
            patched.delenv(name, raising=False)
        cast.operator.start()
    cast.mount.put("app", {"password": "two"})
    cast.wait_ready(password="two")
    cast.operator.restart()
