from dataclasses import fields

import pytest

from leasehold.domain.lease import Intent, Lease, OldLease, spread
from leasehold.domain.values import SecretBytes
from tests.worlds.objects import NOW, lease, record, source

H = 3600.0


@pytest.mark.parametrize(
    ("ends", "effective"),
    [
        ({"expires_at": NOW + 1, "owner_expires_at": None}, NOW + 1),
        ({"expires_at": NOW + 3, "owner_expires_at": NOW + 2}, NOW + 2),
        ({"expires_at": NOW + 3, "owner_expires_at": NOW + 2, "max_expires_at": NOW + 1}, NOW + 1),
    ],
)
def test_the_effective_end_is_the_earliest(ends, effective):
    held = lease(**ends)
    assert held.ends_at == effective
    assert (held.has_ended(now=effective - 0.1), held.has_ended(now=effective)) == (False, True)


def test_an_answer_without_a_lease_has_no_end():
    assert not lease("", expires_at=NOW).has_ended(now=NOW + H)


def test_sources_are_replaced_and_removed():
    held = record({"a": source(), "b": source()})
    other = source(lease())
    assert held.with_source("a", other).sources == {"b": source(), "a": other}
    assert held.with_source("a", None).sources == {"b": source()}
    assert held.sources == {"a": source(), "b": source()}


@pytest.mark.parametrize(
    ("held", "empty"),
    [
        (source(), True),
        (source(lease()), False),
        (source(old=(OldLease(lease(), NOW),)), False),
        (source(intent=Intent(SecretBytes("a"), NOW)), False),
    ],
)
def test_a_record_is_empty_when_nothing_is_held(held, empty):
    assert record({"a": source(), "b": held}).empty is empty
    assert record({}).empty


def test_the_jitter_is_stable_and_spread():
    shares = [spread(f"uid-{index}", 0.05) for index in range(200)]
    assert shares == [spread(f"uid-{index}", 0.05) for index in range(200)]
    assert all(0 <= share < 0.05 for share in shares)
    assert min(shares) < 0.005 < 0.045 < max(shares)


def test_nothing_of_a_lease_shows_what_it_is():
    shown = repr(lease("database/creds/app/s3cr3t"))
    assert "s3cr3t" not in shown
    assert "first" not in shown
    assert {"lease_id", "owner", "values"} <= {part.name for part in fields(Lease)}
