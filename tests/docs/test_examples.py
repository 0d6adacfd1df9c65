"""Every manifest in the documentation is one that we read; the Vault script allows what the operator needs, no more."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from leasehold.api import parse
from leasehold.domain import sources
from leasehold.providers.vault import policy

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
READERS: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    "ExternalSecret": parse.external_secret,
    "SecretStore": parse.secret_store,
    "ClusterSecretStore": parse.cluster_secret_store,
    "VaultDynamicSecret": parse.vault_dynamic_secret,
}
_BLOCK = re.compile(r"^```ya?ml\n(.*?)^```", re.MULTILINE | re.DOTALL)
_GRANT = re.compile(r'^path "([^"]+)"\s+\{ capabilities = \["(\w+)"\] \}', re.MULTILINE)


def texts() -> Iterator[tuple[str, str]]:
    """Yield every YAML text of the documentation with the place where it stands."""
    for file in sorted([*DOCS.rglob("*.md"), ROOT / "README.md"]):
        for number, match in enumerate(_BLOCK.finditer(file.read_text(encoding="utf-8")), start=1):
            yield f"{file.relative_to(ROOT)}#{number}", match.group(1)
    for file in sorted(EXAMPLES.rglob("*.yaml")):
        yield str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for place, text in texts():
        for document in yaml.safe_load_all(text):
            if isinstance(document, dict):
                yield place, document


MANIFESTS = [(place, document) for place, document in documents() if document.get("kind") in READERS]


@pytest.mark.parametrize(("place", "document"), MANIFESTS, ids=[f"{p}-{d['kind']}" for p, d in MANIFESTS])
def test_is_read(place: str, document: dict[str, Any]) -> None:
    read = READERS[document["kind"]](document)
    if document["kind"] == "ExternalSecret":
        assert sources.entries(read)  # type: ignore[arg-type]  # everything it reads is supported


@pytest.mark.parametrize(("place", "document"), MANIFESTS, ids=[f"{p}-{d['kind']}" for p, d in MANIFESTS])
def test_has_no_unknown_field(place: str, document: dict[str, Any]) -> None:
    """A misspelt field would be dropped by the API server, and by our reader, without a word."""
    from leasehold.api import crd

    (kind,) = (kind for kind in crd.KINDS if kind.resource.kind == document["kind"])
    assert document["apiVersion"] == kind.resource.api_version
    assert not list(unknown(document, crd.schema(kind), ""))


def unknown(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield the paths that the schema does not have."""
    if schema.get("x-kubernetes-preserve-unknown-fields") or path == ".metadata":
        return
    if isinstance(value, dict) and "properties" in schema:
        for name, child in value.items():
            inner = schema["properties"].get(name)
            if inner is None:
                yield f"{path}.{name}"
            else:
                yield from unknown(child, inner, f"{path}.{name}")
    elif isinstance(value, list):
        for child in value:
            yield from unknown(child, schema["items"], f"{path}[]")


def test_there_are_manifests_in_pages_and_examples() -> None:
    places = {place for place, _ in MANIFESTS}
    assert any(place.startswith("docs/how-to/") for place in places)
    assert any(place.startswith("docs/examples/quickstart/") for place in places)


def test_an_unknown_field_is_found() -> None:
    from leasehold.api import crd
    from leasehold.api.externalsecret import ExternalSecret

    document = {"kind": "ExternalSecret", "spec": {"data": [{"secretKey": "a", "remoteRef": {"kee": "b"}}]}}
    assert list(unknown(document, crd.schema(ExternalSecret), "")) == [".spec.data[].remoteRef.kee"]


def test_the_quickstart_names_one_vault_address() -> None:
    """The demo and the tutorial replace it."""
    found = {
        address
        for file in (EXAMPLES / "quickstart").glob("*.yaml")
        for address in re.findall(r"https?://\S+", file.read_text(encoding="utf-8"))
    }
    assert found == {"http://127.0.0.1:8200"}


def test_the_script_grants_the_operator_what_its_policy_says() -> None:
    script = (EXAMPLES / "vault.sh").read_text(encoding="utf-8")
    (block,) = re.findall(r"vault policy write leasehold - <<POLICY\n(.*?)^POLICY", script, re.MULTILINE | re.DOTALL)
    assert set(_GRANT.findall(block)) == set(_GRANT.findall(policy.operator_policy()))


def test_the_page_on_vault_quotes_the_script() -> None:
    script = (EXAMPLES / "vault.sh").read_text(encoding="utf-8")
    page = (DOCS / "how-to" / "vault-setup.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(quoted) > 3
    for block in quoted:
        assert block in script


def test_the_audit_policy_never_logs_a_body() -> None:
    rules = yaml.safe_load((EXAMPLES / "audit-policy.yaml").read_text(encoding="utf-8"))["rules"]
    assert {rule["level"] for rule in rules} <= {"None", "Metadata"}
