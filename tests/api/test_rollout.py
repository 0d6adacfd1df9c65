import re

import pytest
from pydantic import TypeAdapter

from leasehold.api.meta import StoreKind
from leasehold.api.rollout import FailoverStore, Lease, OnDelete, OnFailure, Rollout, RolloutPolicy, Span

PATTERN = TypeAdapter(Span).json_schema()["pattern"]


def test_absent_choices_are_the_safe_ones():
    assert Lease.model_validate({}).on_delete is OnDelete.REVOKE
    assert Rollout.model_validate({}).policy is RolloutPolicy.AUTO
    assert Rollout.model_validate({}).on_failure is OnFailure.ROLLBACK
    assert FailoverStore.model_validate({"name": "a"}).kind is StoreKind.SECRET_STORE


@pytest.mark.parametrize("text", ["0", "0s", "+1m", "1h30m", "1.5h", ".5s", "10µs", "10μs"])
def test_spans_that_the_crd_takes(text):
    assert re.search(PATTERN, text)


@pytest.mark.parametrize("text", ["", "-1s", "10", "1d", "1h 30m", "s", "+", "ten minutes"])
def test_spans_that_the_crd_refuses(text):
    assert not re.search(PATTERN, text)


def test_only_workloads_can_be_restarted():
    with pytest.raises(ValueError, match=re.escape("targets.0.kind")):
        Rollout.model_validate({"targets": [{"kind": "Job", "name": "a"}]})
