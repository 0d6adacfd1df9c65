from datetime import UTC, datetime

import pytest

from leasehold.api import parse
from leasehold.api.rollout import Rollout, RolloutPolicy
from leasehold.api.status import RolloutStatus
from leasehold.domain import rollout
from leasehold.domain.errors import Misconfigured
from leasehold.domain.facts import Key
from leasehold.domain.rollout import State
from leasehold.domain.values import SecretBytes

NOW = 1_700_000_000.5
LATER = NOW + 60
AUTO, NEVER = RolloutPolicy.AUTO, RolloutPolicy.NEVER
A1 = {"a": "1", "b": "1"}
A2 = {"a": "2", "b": "1"}


def published(previous, keys, *, policy=AUTO, keyed_by="k", now=NOW, replaced=None):
    return rollout.published(previous, keys, policy=policy, keyed_by=keyed_by, now=now, replaced=replaced)


def secret(**wanted):
    spec = {"dataFrom": [{"extract": {"key": "x"}}], "target": {"name": "db"}}
    if wanted.get("on", True):
        spec["rollout"] = {field: value for field, value in wanted.items() if field != "on"}
    return parse.external_secret({"metadata": {"name": "es", "namespace": "shop", "uid": "u-1"}, "spec": spec})


def test_the_first_publication_restarts_nobody():
    first = published(None, A1)
    assert (first.state, first.keys, first.changed) == (State.COMPLETE, A1, ())
    assert first.published_at == datetime.fromtimestamp(int(NOW), UTC)


def test_the_first_publication_into_a_secret_that_was_there_is_compared_with_it():
    first = published(None, A2, replaced={"a": "1", "b": "1", "foreign": "9"})
    assert (first.state, first.changed) == (State.PENDING, ("a",))
    assert published(None, A1, replaced={**A1, "foreign": "9"}).state == State.COMPLETE


def test_the_same_values_again_are_nothing():
    first = published(None, A1)
    assert published(first, dict(reversed(A1.items())), now=LATER) is first


@pytest.mark.parametrize(
    ("after", "changed"),
    [(A2, ("a",)), ({"a": "1"}, ("b",)), ({**A1, "c": "1"}, ("c",)), ({"c": "1"}, ("a", "b", "c"))],
)
def test_changed_added_and_removed_keys_are_pending(after, changed):
    status = published(published(None, A1), after, now=LATER)
    assert (status.state, status.changed, status.keys) == (State.PENDING, changed, after)
    assert status.published_at == datetime.fromtimestamp(int(LATER), UTC)


def test_changes_add_up_until_a_rollout_is_complete():
    once = published(published(None, A1), A2)
    assert published(once, {"a": "2", "b": "2"}, now=LATER).changed == ("a", "b")
    assert published(once, A1, now=LATER).changed == ("a",), "pods may have taken the value in between"


def test_what_the_status_missed_is_caught_up_without_a_write():
    behind = published(None, A1)  # the Secret was written with A2, the status was not
    assert published(behind, A2, now=LATER).changed == ("a",)


def test_another_fingerprint_key_is_no_change_of_values():
    first = published(None, A1)
    moved = published(first, {"a": "x", "b": "y"}, keyed_by="other")
    assert (moved.state, moved.changed, moved.keys) == (State.COMPLETE, (), {"a": "x", "b": "y"})
    under_way = published(first, A2)
    assert published(under_way, {"a": "x", "b": "y"}, keyed_by="other").changed == ("a",)


def test_never_notes_the_keys_and_forgets_what_was_under_way():
    under_way = published(published(None, A1), A2)
    off = published(under_way, A2, policy=NEVER)
    assert (off.state, off.changed, off.keys) == (State.DISABLED, (), A2)
    assert published(off, A2, policy=NEVER, now=LATER) is off
    assert published(off, A1, policy=NEVER).keys == A1


def test_turning_it_on_starts_from_the_present_value():
    off = published(None, A1, policy=NEVER)
    on = published(off, A2)
    assert (on.state, on.changed) == (State.COMPLETE, ())


def test_a_finished_or_switched_off_rollout_settles():
    under_way = published(published(None, A1), A2)
    assert rollout.settled(under_way, Rollout(policy=NEVER), now=NOW).state == State.DISABLED
    assert rollout.settled(under_way, None, now=NOW).changed == ()
    done = published(None, A1)
    assert rollout.settled(done, Rollout(), now=NOW) is done


def test_the_name_of_a_key_tells_keys_apart():
    names = [rollout.key_name(SecretBytes(text)) for text in ("one", "one", "two")]
    assert names[0] == names[1] != names[2]
    assert "one" not in names[0]


def test_a_demand_says_what_the_object_asks():
    status = published(published(None, A1), A2)
    wanted = secret(
        policy="Always", targets=[{"kind": "Deployment", "name": "web"}], minInterval="10m", deadline="1h30m"
    )
    asked = rollout.demand(wanted, status)
    assert asked is not None
    assert (asked.key, asked.secret, asked.uid) == (Key("ExternalSecret", "shop", "es"), "db", "u-1")
    assert (asked.min_interval, asked.deadline, asked.published_at) == (600.0, 5400.0, int(NOW))
    assert (asked.targets, asked.changed) == ({("Deployment", "web")}, {"a"})


def test_defaults_of_a_demand():
    asked = rollout.demand(secret(), published(None, A1))
    assert asked is not None
    assert (asked.min_interval, asked.deadline, asked.targets) == (0.0, 600.0, frozenset())
    assert rollout.demand(secret(), RolloutStatus(), deadline=5.0).deadline == 5.0


def test_who_asks_nothing():
    status = published(None, A1)
    assert rollout.demand(secret(on=False), status) is None
    assert rollout.demand(secret(), None) is None
    assert rollout.demand(secret(policy="Never"), status) is None
    assert rollout.demand(secret(), published(None, A1, policy=NEVER)) is None


@pytest.mark.parametrize("field", ["minInterval", "deadline"])
def test_a_bad_duration_is_named(field):
    with pytest.raises(Misconfigured, match=f"spec.rollout.{field}"):
        rollout.demand(secret(**{field: "soon"}), published(None, A1))
