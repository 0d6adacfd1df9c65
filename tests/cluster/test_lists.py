"""What a list did not name is in doubt, until somebody asks or something is heard."""

from leasehold.cluster.lists import QUIET, Lists
from leasehold.domain.facts import Key

ES = "ExternalSecret"
A, B, C = (Key(ES, "shop", name) for name in "abc")


class Known:
    """Lists of one kind, and what the mirror knows of it."""

    def __init__(self, *keys: Key) -> None:
        self.lists, self.keys = Lists([ES, "Secret"]), list(keys)
        self.lists.end(ES)

    def settle(self, now: float) -> tuple[Key, ...]:
        return self.lists.settle(lambda kind: self.keys if kind == ES else (), now=now)


def test_before_the_first_list_nothing_is_heard() -> None:
    lists = Lists([ES])
    assert not lists.ended(ES)
    lists.end(ES)
    assert lists.ended(ES)


def test_the_first_list_doubts_nothing() -> None:
    lists = Lists([ES])
    lists.named(A, now=0, listed=True)
    assert lists.settle(lambda _: [A, B], now=QUIET) == ()
    assert lists.ended(ES)


def test_what_a_list_does_not_name_is_in_doubt() -> None:
    known = Known(A, B)
    known.lists.begin(ES, now=0)
    known.lists.named(A, now=1, listed=True)
    assert known.settle(QUIET) == ()  # not yet quiet
    assert known.settle(1 + QUIET) == (B,)


def test_a_list_that_names_nothing_doubts_everything() -> None:
    known = Known(A, B)
    known.lists.begin(ES, now=0)
    assert known.settle(QUIET) == (A, B)


def test_without_a_list_nothing_is_doubted() -> None:
    known = Known(A)
    assert known.settle(10 * QUIET) == ()
    known.lists.named(A, now=0, listed=False)  # an event is no list
    assert known.settle(10 * QUIET) == ()


def test_what_was_made_while_the_list_was_heard_is_not_doubted() -> None:
    known = Known(A, B)
    known.lists.begin(ES, now=0)
    known.lists.named(B, now=2, listed=False)
    assert known.settle(QUIET) == (A,)


def test_doubts_stay_until_they_are_answered() -> None:
    known = Known(A, B, C)
    known.lists.begin(ES, now=0)
    assert known.settle(QUIET) == (A, B, C)
    known.lists.confirm(A)
    known.lists.named(B, now=QUIET, listed=False)
    assert [known.lists.doubts(key) for key in (A, B, C)] == [False, False, True]
    assert known.settle(QUIET + 1) == (C,)


def test_a_list_that_begins_again_counts_alone() -> None:
    known = Known(A, B)
    known.lists.begin(ES, now=0)
    known.lists.named(A, now=1, listed=True)
    known.lists.begin(ES, now=2)  # the first one broke off
    known.lists.named(B, now=3, listed=True)
    assert known.settle(3 + QUIET) == (A,)


def test_kinds_do_not_mix() -> None:
    known = Known(A)
    known.lists.begin("Secret", now=0)
    assert known.settle(QUIET) == ()
