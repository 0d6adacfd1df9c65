from __future__ import annotations

import pytest

from leasehold.domain.errors import DomainError, Misconfigured, Missing
from leasehold.providers import properties


@pytest.mark.parametrize("kind", [Missing, Misconfigured])
def test_a_plain_name_is_what_the_provider_says(kind: type[DomainError]) -> None:
    error = properties.absent("tls-key_2", path="secret/data/app", kind=kind)
    assert type(error) is kind
    assert str(error) == "the secret has no property tls-key_2 (secret/data/app); add it, or change remoteRef.property"


@pytest.mark.parametrize("name", ["a.b", "a|b", "a.#.b", "*", "@this", "a\\.b", "a.0", "{a,b}", "a?"])
def test_a_path_is_refused(name: str) -> None:
    error = properties.absent(name, path="p", kind=Missing)
    assert type(error) is Misconfigured
    assert "not supported" in str(error)
