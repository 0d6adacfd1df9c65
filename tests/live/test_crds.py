"""The CRDs on a real API server: what it takes, refuses, fills in, selects and shows."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from leasehold.api import crd, parse
from leasehold.api.stores import OPAQUE_PROVIDERS
from testbed.controlplane import ControlPlane
from testbed.wire import Answer, Wire

pytestmark = pytest.mark.live
ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "tests" / "golden" / "crds"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAMESPACE = "crds-under-test"
KINDS = {kind.resource.kind: kind.resource for kind in crd.KINDS}
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Server:
    """The API server with our CRDs."""

    plane: ControlPlane
    wire: Wire

    def path(self, kind: str) -> str:
        resource = KINDS[kind]
        place = f"/namespaces/{NAMESPACE}" if resource.namespaced else ""
        return f"/apis/{resource.api_version}{place}/{resource.plural}"

    def try_out(self, document: Object) -> Answer:
        """Ask whether an object would be taken; strict, so that an unknown field is refused, not dropped."""
        query = "?dryRun=All&fieldValidation=Strict"
        return self.wire.ask("POST", self.path(document["kind"]) + query, document)


@pytest.fixture(scope="module")
def server(control_plane: ControlPlane) -> Iterator[Server]:
    plane = control_plane
    wire = Wire(plane.url, ca_pem=plane.ca_pem, headers={"Authorization": f"Bearer {plane.admin_token}"})
    plane.kubectl.apply_files(ROOT / "crds")
    names = [f"crd/{resource.plural}.{resource.group}" for resource in KINDS.values()]
    plane.kubectl.run("wait", "--for=condition=Established", "--timeout=30s", *names)
    plane.create_namespace(NAMESPACE)
    yield Server(plane, wire)
    wire.ask("DELETE", f"/api/v1/namespaces/{NAMESPACE}")


def external_secret(**spec: Any) -> Object:
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": "example"},
        "spec": {"data": [item("key")], **spec},
    }


def item(key: str) -> Object:
    return {"secretKey": key, "remoteRef": {"key": "a"}}


def long_items(count: int) -> list[Object]:
    """Entries with keys of full length that differ in their ends only: the dearest to compare."""
    return [item(f"k{place:0252}") for place in range(count)]


def store(kind: str = "SecretStore", **spec: Any) -> Object:
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": kind,
        "metadata": {"name": "example"},
        "spec": {"provider": {"fake": {"data": []}}, **spec},
    }


def vault(**fields: Any) -> Object:
    return store(provider={"vault": {"server": "https://v.example.org", **fields}})


def target(**fields: Any) -> Object:
    return external_secret(target=fields)


def template(**fields: Any) -> Object:
    return target(template=fields)


def data_from(**fields: Any) -> Object:
    return external_secret(dataFrom=[fields])


REF = {"name": "s", "key": "k"}
TOKEN_TYPE = "kubernetes.io/service-account-token"
ACCOUNT = "kubernetes.io/service-account.name"
GENERATOR = {"generatorRef": {"kind": "VaultDynamicSecret", "name": "g"}}
STORE = {"storeRef": {"name": "s"}}
EXTRACT = {"key": "a"}

TAKEN = {
    "data alone": external_secret(),
    "dataFrom alone": external_secret(data=[], dataFrom=[{"extract": EXTRACT}]),
    "Delete with Owner": target(deletionPolicy="Delete"),
    "Delete with Orphan": target(deletionPolicy="Delete", creationPolicy="Orphan"),
    "Merge with Merge": target(deletionPolicy="Merge", creationPolicy="Merge"),
    "Retain with None": target(deletionPolicy="Retain", creationPolicy="None"),
    "extract": data_from(extract=EXTRACT),
    "extract of another store": data_from(extract=EXTRACT, sourceRef=STORE),
    "find": data_from(find={"name": {"regexp": "a"}}),
    "find of another store": data_from(find={}, sourceRef=STORE),
    "a generator": data_from(sourceRef=GENERATOR),
    "a store without extract and find": data_from(sourceRef=STORE),
    "one key twice with Delete": external_secret(data=[item("a"), item("a")], target={"deletionPolicy": "Delete"}),
    "one key twice with Merge": external_secret(data=[item("a"), item("a")], target={"deletionPolicy": "Merge"}),
    **{f"{count} long keys": external_secret(data=long_items(count)) for count in (2, 16, 17, 128, 129, 1500)},
    "one key twice among more than 128": external_secret(data=[*long_items(128), *long_items(1)]),
    "a token type without account": template(type=TOKEN_TYPE),
    "a token type with another annotation": template(type=TOKEN_TYPE, metadata={"annotations": {"a": "b"}}),
    "an account annotation without token type": template(metadata={"annotations": {ACCOUNT: "a"}}),
    "a token type with templated labels": template(
        type=TOKEN_TYPE, templateFrom=[{"literal": "a: b", "target": "Labels"}]
    ),
    "annotations from a template": template(templateFrom=[{"literal": "a: b", "target": "annotations"}]),
    "a path in another kind": target(
        manifest={"apiVersion": "v1", "kind": "ConfigMap"},
        template={"templateFrom": [{"literal": "a: b", "target": "data.list[0]"}]},
    ),
    "no lease of ours": external_secret(lease={}, rollout={}, failover=[]),
    "shares and spans": external_secret(lease={"renewAt": "66.5%", "rotateBefore": "0s", "gracePeriod": "1h30m"}),
    "an interval of any text": external_secret(refreshInterval="whenever"),
    "a window every so often": external_secret(
        syncWindows={"kind": "deny", "windows": [{"schedule": "@every 6h", "duration": "1h"}]}
    ),
    "appRole with an id": vault(auth={"appRole": {"roleId": "r", "secretRef": REF}}),
    "appRole with a reference": vault(auth={"appRole": {"roleRef": REF, "secretRef": REF}}),
    "jwt from a secret": vault(auth={"jwt": {"secretRef": REF}}),
    "jwt from an account": vault(auth={"jwt": {"kubernetesServiceAccountToken": {"serviceAccountRef": {"name": "a"}}}}),
    "tls with both": vault(tls={"certSecretRef": REF, "keySecretRef": REF}),
    "tls with neither": vault(tls={}),
    "check and set on v2": vault(checkAndSet={"required": True}),
    "no check and set on v1": vault(checkAndSet={"required": False}, version="v1"),
    "an interval in seconds": store(refreshInterval=60),
    "an interval of nothing": store(refreshInterval=""),
    "an interval of zero": store(refreshInterval=0),
    "an interval as duration": store(refreshInterval="1h30m"),
    **{f"provider {name}": store(provider={name: {"any": [1, {"thing": None}]}}) for name in OPAQUE_PROVIDERS},
}

# Each with a part of the complaint, which proves that this rule refused and no other.
REFUSED = {
    "neither data nor dataFrom": (external_secret(data=[]), "nothing to read: set data or dataFrom"),
    "an empty spec": ({**external_secret(), "spec": {}}, "nothing to read: set data or dataFrom"),
    "no spec": ({k: v for k, v in external_secret().items() if k != "spec"}, "spec: Required value"),
    **{
        f"Delete with {policy}": (
            target(deletionPolicy="Delete", creationPolicy=policy),
            "spec.target: Invalid value: deletionPolicy Delete needs a target of our own",
        )
        for policy in ("Merge", "None", "CreateOrMerge")
    },
    "Merge with None": (target(deletionPolicy="Merge", creationPolicy="None"), "deletionPolicy Merge has nothing to"),
    "an empty dataFrom entry": (data_from(), "needs extract, find or sourceRef"),
    "only a rewrite": (data_from(rewrite=[{"transform": {"template": "t"}}]), "needs extract, find or sourceRef"),
    "extract and find": (data_from(extract=EXTRACT, find={}), "takes only one of extract, find and"),
    "extract and generator": (data_from(extract=EXTRACT, sourceRef=GENERATOR), "takes only one of extract, find"),
    "find and generator": (data_from(find={}, sourceRef=GENERATOR), "takes only one of extract, find and"),
    "an empty sourceRef": (data_from(sourceRef={}), "should have at least 1 properties"),
    "two sources": (data_from(sourceRef={**GENERATOR, **STORE}), "must have at most 1 item"),
    "one key twice": (external_secret(data=[item("a"), item("b"), item("a")]), "each secretKey in data may come only"),
    "one key twice with a plain target": (
        external_secret(data=[item("a"), item("a")], target={"name": "t"}),
        "each secretKey in data may come only",
    ),
    **{
        f"the last of {count} keys twice": (
            external_secret(data=[*long_items(count - 1), long_items(count - 1)[-1]]),
            "each secretKey in data may come only once",
        )
        for count in (2, 16, 17, 128)
    },
    "a bootstrap token": (template(type="bootstrap.kubernetes.io/token"), "lets its holder join the cluster"),
    "a token type with account": (
        template(type=TOKEN_TYPE, metadata={"annotations": {ACCOUNT: "a"}}),
        "would receive that account's token",
    ),
    "a token type with templated annotations": (
        template(type=TOKEN_TYPE, templateFrom=[{"literal": "a: b", "target": "ANNOTATIONS"}]),
        "would receive that account's token",
    ),
    "an unknown place for a template": (
        template(templateFrom=[{"literal": "a: b", "target": "data.x"}]),
        "templateFrom target of a Secret must be Data, Annotations or Labels",
    ),
    "two rewrites in one": (
        data_from(extract=EXTRACT, rewrite=[{"transform": {"template": "t"}, "merge": {}}]),
        "must have at most 1 item",
    ),
    "an unknown policy": (target(creationPolicy="Mine"), "Unsupported value"),
    "the old engine": (template(engineVersion="v1"), "Unsupported value"),
    "a key with a space": (external_secret(data=[item("a b")]), "spec.data[0].secretKey in body should match"),
    "a key that is too long": (external_secret(data=[item("k" * 254)]), "Too long"),
    "an upper-case store": (external_secret(secretStoreRef={"name": "Vault"}), "spec.secretStoreRef.name in body"),
    "an unknown generator": (
        data_from(sourceRef={"generatorRef": {"kind": "Dice", "name": "d"}}),
        "Unsupported value",
    ),
    "no window": (external_secret(syncWindows={"kind": "allow", "windows": []}), "should have at least 1 items"),
    "a bad schedule": (
        external_secret(syncWindows={"kind": "allow", "windows": [{"schedule": "soon", "duration": "1h"}]}),
        "schedule in body should match",
    ),
    "an unknown field": (external_secret(tagret={}), 'unknown field "spec.tagret"'),
    "renewal at nothing": (external_secret(lease={"renewAt": "0%"}), "spec.lease.renewAt in body should match"),
    "renewal at the end": (external_secret(lease={"renewAt": "100%"}), "spec.lease.renewAt in body should match"),
    "a negative span": (external_secret(lease={"gracePeriod": "-1s"}), "spec.lease.gracePeriod in body should match"),
    "a restart of a Job": (external_secret(rollout={"targets": [{"kind": "Job", "name": "j"}]}), "Unsupported value"),
    "an identity elsewhere": (
        external_secret(identity={"serviceAccountRef": {"name": "a", "namespace": "other"}}),
        'unknown field "spec.identity.serviceAccountRef.namespace"',
    ),
    "an identity of nobody": (external_secret(identity={}), "spec.identity.serviceAccountRef: Required value"),
    "no provider": (store(provider={}), "should have at least 1 properties"),
    "two providers": (store(provider={"fake": {"data": []}, "aws": {}}), "must have at most 1 item"),
    "an unheard-of provider": (store(provider={"tomorrow": {}}), 'unknown field "spec.provider.tomorrow"'),
    "appRole without id": (vault(auth={"appRole": {"secretRef": REF}}), "appRole needs roleId or roleRef"),
    "appRole with an empty id": (
        vault(auth={"appRole": {"roleId": "", "secretRef": REF}}),
        "appRole needs roleId or roleRef",
    ),
    "jwt from nowhere": (vault(auth={"jwt": {"role": "r"}}), "jwt needs secretRef or kubernetesServiceAccountToken"),
    "tls without key": (vault(tls={"certSecretRef": REF}), "tls needs both certSecretRef and keySecretRef"),
    "tls without certificate": (vault(tls={"keySecretRef": REF}), "tls needs both certSecretRef and keySecretRef"),
    "check and set on v1": (vault(checkAndSet={"required": True}, version="v1"), "checkAndSet needs version v2"),
    "a bundle that is no base64": (vault(caBundle="-----"), "caBundle in body must be of type byte"),
    "an unknown kind of CA": (vault(caProvider={"type": "File", "name": "a"}), "Unsupported value"),
    "a store interval in words": (store(refreshInterval="soon"), "spec.refreshInterval in body should match"),
    "a store interval in digits": (store(refreshInterval="60"), "spec.refreshInterval in body should match"),
    "a negative store interval": (store(refreshInterval=-1), "spec.refreshInterval in body should be greater"),
    "a negative store duration": (store(refreshInterval="-5m"), "spec.refreshInterval in body should match"),
    "a long namespace": (store(conditions=[{"namespaces": ["n" * 64]}]), "Too long"),
}


def documents() -> list[Object]:
    texts = (file.read_text(encoding="utf-8") for file in sorted(SAMPLES.glob("*.yaml")))
    return [document for text in texts for document in yaml.safe_load_all(text)]


def as_cluster_store(document: Object) -> Object:
    return {**document, "kind": "ClusterSecretStore"}


@pytest.mark.parametrize("name", TAKEN)
def test_takes(server: Server, name: str) -> None:
    answer = server.try_out(TAKEN[name])
    assert answer.status == 201, answer.body
    if TAKEN[name]["kind"] == "SecretStore":
        assert server.try_out(as_cluster_store(TAKEN[name])).status == 201


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(server: Server, name: str) -> None:
    document, complaint = REFUSED[name]
    answer = server.try_out(document)
    assert answer.status in {400, 422}, answer.body
    assert complaint in answer.body["message"]
    if document["kind"] == "SecretStore":
        assert complaint in server.try_out(as_cluster_store(document)).body["message"]


@pytest.mark.parametrize("document", documents(), ids=lambda d: f"{d['kind']}-{d['metadata']['name']}")
def test_keeps_every_field(server: Server, document: Object) -> None:
    path = server.path(document["kind"])
    name = document["metadata"]["name"]
    created = server.wire.ask("POST", path + "?fieldValidation=Strict", document)
    assert created.status == 201, created.body
    assert created.body["spec"] == document["spec"]
    if "status" in document:
        body = {**created.body, "status": document["status"]}
        reported = server.wire.ask("PUT", f"{path}/{name}/status?fieldValidation=Strict", body)
        assert reported.status == 200, reported.body
        assert reported.body["status"] == document["status"]
    assert server.wire.ask("DELETE", f"{path}/{name}").status == 200


def test_fills_in_what_eso_fills_in(server: Server) -> None:
    answer = server.try_out(
        {**external_secret(), "spec": {"dataFrom": [{"extract": EXTRACT, "rewrite": [{"merge": {}}]}]}}
    )
    merge = {"into": "", "priorityPolicy": "Strict", "conflictPolicy": "Error", "strategy": "Extract"}
    assert answer.body["spec"] == {
        "refreshInterval": "1h0m0s",
        "target": {"creationPolicy": "Owner", "deletionPolicy": "Retain"},
        "dataFrom": [{"extract": {"key": "a"}, "rewrite": [{"merge": merge}]}],
    }


def test_fills_in_a_template(server: Server) -> None:
    source = {"configMap": {"name": "c", "items": [{"key": "k"}]}}
    answer = server.try_out(template(templateFrom=[source]))
    assert answer.body["spec"]["target"] == {
        "creationPolicy": "Owner",
        "deletionPolicy": "Retain",
        "template": {
            "engineVersion": "v2",
            "mergePolicy": "Replace",
            "templateFrom": [
                {"target": "Data", "configMap": {"name": "c", "items": [{"key": "k", "templateAs": "Values"}]}}
            ],
        },
    }


def test_adds_nothing_to_our_own_fields(server: Server) -> None:
    ours = {"lease": {}, "rollout": {"canary": {}}, "identity": {"serviceAccountRef": {"name": "a"}}}
    spec = server.try_out(external_secret(**ours)).body["spec"]
    assert {name: spec[name] for name in ours} == ours


def test_a_model_reads_what_the_server_returns(server: Server) -> None:
    answer = server.try_out(vault(auth={"kubernetes": {"role": "r"}}))
    found = parse.secret_store(answer.body).spec.provider.vault
    assert found is not None
    assert found.auth is not None
    assert found.auth.kubernetes is not None
    assert (found.version, found.auth.kubernetes.mount_path) == ("v2", "kubernetes")


def test_selects_by_field(server: Server) -> None:
    path = server.path("ExternalSecret")
    for name, interval in (("one", "1m"), ("two", "2m")):
        document = external_secret(
            secretStoreRef={"name": f"store-{name}", "kind": "ClusterSecretStore"},
            target={"name": f"target-{name}"},
            refreshInterval=interval,
        )
        document["metadata"] = {"name": name}
        assert server.wire.ask("POST", path, document).status == 201
    queries = {
        "spec.secretStoreRef.name=store-one": ["one"],
        "spec.secretStoreRef.kind=ClusterSecretStore": ["one", "two"],
        "spec.target.name=target-two": ["two"],
        "spec.refreshInterval=2m": ["two"],
        "spec.refreshInterval=3m": [],
    }
    for query, names in queries.items():
        found = server.wire.ask("GET", f"{path}?fieldSelector={query}").body["items"]
        assert sorted(entry["metadata"]["name"] for entry in found) == names, query
    assert server.wire.ask("GET", f"{path}?fieldSelector=spec.data=x").status == 400
    for name in ("one", "two"):
        server.wire.ask("DELETE", f"{path}/{name}")


def test_shows_columns_by_short_name(server: Server) -> None:
    sample = find_sample()
    path = server.path("ExternalSecret")
    created = server.wire.ask("POST", path, sample)
    assert created.status == 201, created.body
    status = {**created.body, "status": sample["status"]}
    server.wire.ask("PUT", f"{path}/{sample['metadata']['name']}/status", status)
    header, row = server.plane.kubectl.run("get", "es", f"--namespace={NAMESPACE}").splitlines()
    assert header.split("  ")[0] == "NAME"
    assert [name for name in (part.strip() for part in header.split("  ")) if name] == [
        "NAME", "STORETYPE", "STORE", "REFRESH INTERVAL", "STATUS", "READY", "LAST SYNC",
        "EXPIRES", "RENEWS", "ROLLOUT",
    ]  # fmt: skip
    cells = row.split()
    assert cells[:6] == ["every-field", "ClusterSecretStore", "vault", "15m0s", "SecretSynced", "True"]
    assert cells[-3:] == ["2026-08-08T11:00:00Z", "2026-08-08T10:40:00Z", "Pending"]
    server.wire.ask("DELETE", f"{path}/{sample['metadata']['name']}")


def find_sample() -> Object:
    return next(document for document in documents() if document["kind"] == "ExternalSecret")


@pytest.mark.parametrize(("short", "kind"), [("ss", "SecretStore"), ("css", "ClusterSecretStore")])
def test_shows_stores_by_short_name(server: Server, short: str, kind: str) -> None:
    path = server.path(kind)
    created = server.wire.ask("POST", path, store(kind))
    conditions = [{"type": "Ready", "status": "True", "reason": "Valid"}]
    body = {**created.body, "status": {"capabilities": "ReadWrite", "conditions": conditions}}
    assert server.wire.ask("PUT", f"{path}/example/status", body).status == 200
    header, row = server.plane.kubectl.run("get", short, f"--namespace={NAMESPACE}").splitlines()
    assert header.split() == ["NAME", "AGE", "STATUS", "CAPABILITIES", "READY"]
    assert row.split()[2:] == ["Valid", "ReadWrite", "True"]
    server.wire.ask("DELETE", f"{path}/example")


def test_categories_gather_our_kinds(server: Server) -> None:
    resources = server.plane.kubectl.run("api-resources", "--categories=external-secrets", "--output=name").split()
    assert {f"{resource.plural}.{resource.group}" for resource in KINDS.values()} <= set(resources)


def test_the_server_finds_no_fault_with_the_definitions(server: Server) -> None:
    for resource in KINDS.values():
        found = server.wire.ask("GET", f"{DEFINITIONS}/{resource.plural}.{resource.group}").body
        states = {condition["type"]: condition["status"] for condition in found["status"]["conditions"]}
        assert states["Established"] == states["NamesAccepted"] == "True"
        assert states.get("NonStructuralSchema", "False") == "False"
        assert found["metadata"]["labels"]["external-secrets.io/component"] == "controller"


def test_a_plain_apply_takes_the_files(server: Server) -> None:
    """Client-side apply stores each file in an annotation of limited size."""
    text = server.plane.kubectl.run("apply", "--dry-run=server", "--filename", str(ROOT / "crds"))
    assert len(text.splitlines()) == len(KINDS)


def test_applying_again_changes_nothing(server: Server) -> None:
    def generations() -> list[int]:
        items = server.plane.kubectl.get("crds")["items"]
        return [entry["metadata"]["generation"] for entry in items if entry["spec"]["names"]["kind"] in KINDS]

    before = generations()
    server.plane.kubectl.apply_files(ROOT / "crds")
    assert generations() == before
    assert len(before) == len(KINDS)


def test_explain_tells_what_a_field_is_for(server: Server) -> None:
    text = server.plane.kubectl.run("explain", "externalsecret.spec.lease.renewAt")
    assert "Share of a lease's life after which it is renewed" in text
