"""Raw objects in, models or complaints out; and no complaint quotes a value."""

import copy
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest
import yaml

from leasehold.api import parse

SAMPLES = Path(__file__).resolve().parents[1] / "golden" / "crds"
READERS = {
    "ExternalSecret": parse.external_secret,
    "SecretStore": parse.secret_store,
    "ClusterSecretStore": parse.cluster_secret_store,
    "VaultDynamicSecret": parse.vault_dynamic_secret,
}
DOCUMENTS = [
    document
    for kind in READERS
    for document in yaml.safe_load_all((SAMPLES / f"{kind.lower()}.yaml").read_text(encoding="utf-8"))
]
every_sample = pytest.mark.parametrize("sample", DOCUMENTS, ids=lambda d: f"{d['kind']}-{d['metadata']['name']}")
CANARY = "correct horse battery staple"


def read(sample):
    return READERS[sample["kind"]](sample)


def minimal(**spec):
    return {
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"data": [{"secretKey": "k", "remoteRef": {"key": "a"}}], **spec},
    }


def leaves(value, path=()) -> Iterator[tuple]:
    if isinstance(value, dict):
        for name, child in value.items():
            yield from leaves(child, (*path, name))
    elif isinstance(value, list):
        for place, child in enumerate(value):
            yield from leaves(child, (*path, place))
    if path:
        yield path


def put(document, path, value):
    changed = copy.deepcopy(document)
    at = changed
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return changed


@every_sample
def test_every_field_survives_the_way_in_and_out(sample):
    model = read(sample)
    assert prune(model.spec.to_wire(), sample["spec"]) == sample["spec"]
    if "status" in sample:
        assert model.status.to_wire() == sample["status"]


def prune(wire, wanted):
    """Leave out what the model added by its defaults, so that only what was written is compared."""
    if isinstance(wanted, dict) and isinstance(wire, dict):
        return {name: prune(wire.get(name), child) for name, child in wanted.items()}
    if isinstance(wanted, list) and isinstance(wire, list):
        assert len(wire) == len(wanted)
        return [prune(left, right) for left, right in zip(wire, wanted, strict=True)]
    return wire


@every_sample
def test_metadata_is_read(sample):
    metadata = {
        "name": "n",
        "namespace": "ns",
        "uid": "u-1",
        "generation": 3,
        "resourceVersion": "42",
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
        "finalizers": ["e/f"],
        "creationTimestamp": "2026-08-08T10:00:00Z",
        "deletionTimestamp": "2026-08-08T11:00:00Z",
        "managedFields": [{"manager": "ignored"}],
    }
    found = read(sample | {"metadata": metadata}).metadata
    assert found.to_wire() == {name: value for name, value in metadata.items() if name != "managedFields"}
    assert (found.deletion_timestamp - found.creation_timestamp).total_seconds() == 3600


def test_any_mapping_is_taken():
    raw = MappingProxyType(minimal())
    assert parse.external_secret(raw).spec.data[0].secret_key == "k"


def test_unknown_fields_are_left_to_the_crd():
    raw = minimal(newerField=1)
    assert parse.external_secret(raw) == parse.external_secret(minimal())


def test_models_cannot_be_changed():
    model = parse.external_secret(minimal())
    with pytest.raises(ValueError, match="frozen"):
        model.spec.refresh_interval = "1s"


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"metadata": {"name": "db", "namespace": "shop"}}, "ExternalSecret shop/db: spec is required"),
        ({"metadata": {"name": "db"}, "spec": []}, "ExternalSecret db: spec must be an object"),
        ({"spec": {}}, "ExternalSecret (unnamed): metadata is required"),
        ({"metadata": "x", "spec": {}}, "ExternalSecret (unnamed): metadata must be an object"),
        (minimal(data=[{"remoteRef": {"key": "a"}}]), "ExternalSecret shop/db: spec.data[0].secretKey is required"),
        (minimal(data={}), "ExternalSecret shop/db: spec.data must be a list"),
        (minimal(data=[7]), "ExternalSecret shop/db: spec.data[0] must be an object"),
        (minimal(refreshInterval=60), "ExternalSecret shop/db: spec.refreshInterval must be a string"),
        (
            minimal(target={"creationPolicy": "Mine"}),
            (
                "ExternalSecret shop/db: spec.target.creationPolicy must be"
                " 'Owner', 'Orphan', 'Merge', 'None' or 'CreateOrMerge'"
            ),
        ),
        (
            minimal(syncWindows={"kind": "maybe", "windows": []}),
            "ExternalSecret shop/db: spec.syncWindows.kind must be 'allow' or 'deny'",
        ),
        (minimal(target={"immutable": "yes"}), "ExternalSecret shop/db: spec.target.immutable must be true or false"),
        (
            minimal(target={"template": {"data": {"key": 5}}}),
            "ExternalSecret shop/db: spec.target.template.data.key must be a string",
        ),
        (
            minimal() | {"status": {"refreshTime": "yesterday"}},
            "ExternalSecret shop/db: status.refreshTime must be a time in RFC 3339 form",
        ),
        (
            minimal() | {"metadata": {"name": "db", "generation": "5"}},
            "ExternalSecret db: metadata.generation must be an integer",
        ),
    ],
)
def test_complaints_name_object_field_and_problem(raw, complaint):
    with pytest.raises(parse.Invalid) as raised:
        parse.external_secret(raw)
    assert str(raised.value) == complaint
    error = raised.value
    assert f"{error.kind} {error.name}: {error.path} {error.problem}" == complaint


def test_a_complaint_does_not_hold_the_input():
    with pytest.raises(parse.Invalid) as raised:
        parse.external_secret(minimal(refreshInterval=[CANARY]))
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


@every_sample
@pytest.mark.parametrize("bad", [CANARY, [CANARY], {"x": CANARY}, 7, None, True], ids=str)
def test_no_complaint_quotes_a_value(sample, bad):
    places = [path for path in leaves(sample) if path[0] in {"spec", "status"}]
    complaints = [text for path in places if (text := complaint(put(sample, path, bad)))]
    assert complaints
    assert not [text for text in complaints if CANARY in text]


def complaint(sample) -> str | None:
    try:
        read(sample)
    except parse.Invalid as error:
        return f"{error} {error!r} {error.args}"
    return None
