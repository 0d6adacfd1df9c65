from leasehold.domain.decide import Memo
from leasehold.domain.facts import Key
from leasehold.flows.house import Memory, Rules

KEY = Key("ExternalSecret", "shop", "db")


def test_an_object_that_was_never_looked_at_has_a_blank_memo():
    memory = Memory()
    assert memory.get("uid") == Memo()
    assert not memory.met("uid")
    assert memory.met("uid")


def test_a_change_lifts_holds_and_keeps_what_is_known():
    memory = Memory()
    memory.update("uid", held_until=50.0, failures=3, target_version="7", lease_holds={"renew": (2, 40.0)})
    memory.release_hold("uid")
    memo = memory.get("uid")
    assert (memo.held_until, memo.failures, memo.target_version) == (0.0, 3, "7")
    assert memo.lease_holds == {"renew": (2, 0.0)}


def test_lifting_holds_of_a_stranger_is_nothing():
    memory = Memory()
    memory.release_hold("uid")
    assert not memory.met("uid")


def test_what_is_forgotten_is_blank_again():
    memory = Memory()
    memory.update("uid", failures=3)
    memory.forget("uid")
    assert memory.get("uid") == Memo()


def test_another_object_of_the_same_name_has_a_forerunner_until_that_is_settled():
    memory = Memory()
    assert not memory.named(KEY, "first")
    assert not memory.named(KEY, "first")
    assert memory.named(KEY, "second")
    memory.settled(KEY)
    assert not memory.named(KEY, "second")
    memory.left_behind(KEY)
    assert memory.named(KEY, "second")


def test_rules_are_those_of_the_design():
    rules = Rules()
    assert (rules.controller_class, rules.flood_gate, rules.status_freshness) == ("default", True, 300.0)
