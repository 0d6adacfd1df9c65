from __future__ import annotations

from typing import Any

import pytest

from leasehold.api.stores.vault import VaultProvider
from leasehold.domain.errors import Misconfigured
from leasehold.domain.ports import Remote
from leasehold.providers.vault import kv


@pytest.mark.parametrize(
    ("mount", "version", "key", "path"),
    [
        ("secret", "v2", "app", "secret/data/app"),
        ("secret", "v2", "team/app", "secret/data/team/app"),
        ("secret", "v2", "secret/app", "secret/data/app"),
        ("secret", "v2", "secret/data/app", "secret/data/app"),
        ("secret", "v2", "secretive/app", "secret/data/secretive/app"),
        ("secret", "v2", "data/app", "secret/data/data/app"),
        ("secret/", "v2", "/app/", "secret/data/app"),
        ("team/kv", "v2", "team/kv/app", "team/kv/data/app"),
        ("secret", "v1", "app", "secret/app"),
        ("secret", "v1", "secret/app", "secret/app"),
        ("secret", "v1", "secret/data/app", "secret/data/app"),
        (None, "v2", "secret/app", "secret/data/app"),
        (None, "v2", "secret/team/app", "secret/data/team/app"),
        (None, "v2", "team/kv/data/app", "team/kv/data/app"),
        (None, "v2", "app", "app/data"),
        (None, "v1", "secret/app", "secret/app"),
        (None, "v1", "database/creds/app", "database/creds/app"),
        ("secret", "v2", "a//b/./c", "secret/data/a/b/c"),
    ],
)
def test_data_path(mount: str | None, version: str, key: str, path: str) -> None:
    assert kv.data_path(key, mount=mount, version=version) == path


@pytest.mark.parametrize(
    ("mount", "key", "path"),
    [
        ("secret", "app", "secret/metadata/app"),
        ("secret", "secret/app", "secret/metadata/app"),
        ("secret", "secret/data/app", "secret/metadata/app"),
        (None, "secret/app", "secret/metadata/app"),
        (None, "team/kv/data/app", "team/kv/metadata/app"),
    ],
)
def test_metadata_path(mount: str | None, key: str, path: str) -> None:
    assert kv.metadata_path(key, mount=mount) == path


@pytest.mark.parametrize("key", ["../sys/mounts", "a/../../b", ".."])
def test_a_path_does_not_climb(key: str) -> None:
    with pytest.raises(Misconfigured, match="climbs"):
        kv.data_path(key, mount="secret", version="v2")


@pytest.mark.parametrize(
    ("version", "data", "whole"),
    [
        ("v2", {"data": {"a": "1"}, "metadata": {}}, b'{"a":"1"}'),
        ("v2", {"data": None, "metadata": {}}, b"{}"),
        ("v1", {"a": "1"}, b'{"a":"1"}'),
        ("v1", None, b"{}"),
    ],
)
def test_document(version: Any, data: Any, whole: bytes) -> None:
    provider = VaultProvider(server="https://v", version=version)
    assert kv.document(provider, Remote("a"), {"data": data}, path="p").value("").reveal() == whole


@pytest.mark.parametrize(
    ("version", "data"), [("v2", {"a": "canary"}), ("v2", None), ("v2", {"data": "canary"}), ("v1", [1])]
)
def test_another_shape(version: Any, data: Any) -> None:
    provider = VaultProvider(server="https://v", version=version)
    with pytest.raises(Misconfigured) as caught:
        kv.document(provider, Remote("a"), {"data": data}, path="p")
    assert "canary" not in str(caught.value)


def test_metadata_shows_texts() -> None:
    provider = VaultProvider(server="https://v")
    data = {
        "created_time": "t",
        "current_version": 3,
        "oldest_version": 1,
        "custom_metadata": {"n": 1, "b": True, "t": "x"},
    }
    found = kv.document(provider, Remote("a", metadata=True), {"data": data}, path="p")
    assert found.value("").reveal() == b'{"b":"true","created_time":"t","current_version":"3","n":"1","t":"x"}'
