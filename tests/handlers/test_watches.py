"""When a watch counts as lost."""

import pytest

from leasehold.handlers.watches import FAILING, SILENT, Watches
from tests.worlds.clock import ManualClock


class Post:
    """Two watches."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.listed: list[str] = []
        kinds = {"secrets": "Secret", "externalsecrets": "ExternalSecret"}
        self.watches = Watches(kinds, self.clock.monotonic, listed=self.listed.append)

    def begin(self) -> None:
        """Let every watch begin."""
        self.watches.watching("secrets")
        self.watches.watching("externalsecrets")


@pytest.fixture
def post() -> Post:
    return Post()


def test_before_it_begins_a_watch_is_a_problem(post: Post) -> None:
    assert post.watches.problem() == "secrets are not watched yet; externalsecrets are not watched yet"
    post.watches.watching("secrets")
    assert post.watches.problem() == "externalsecrets are not watched yet"
    post.watches.watching("externalsecrets")
    assert post.watches.problem() == ""


def test_a_restart_of_the_api_server_is_no_problem(post: Post) -> None:
    post.begin()
    for _ in range(6):
        post.watches.failed("secrets")
        post.clock.advance(FAILING / 6)
    assert post.watches.problem() == ""
    post.watches.watching("secrets")
    post.clock.advance(FAILING)
    assert post.watches.problem() == ""


def test_a_failure_that_lasts_is(post: Post) -> None:
    post.begin()
    post.watches.failed("secrets")
    post.clock.advance(FAILING)
    post.watches.failed("secrets")  # further failures do not make it younger
    post.clock.advance(1)
    assert post.watches.problem() == "the watch of secrets has failed for 31s"
    post.watches.watching("secrets")
    assert post.watches.problem() == ""


def test_a_list_heals_no_watch(post: Post) -> None:
    post.begin()
    post.watches.failed("secrets")
    post.clock.advance(FAILING + 1)
    post.watches.listing("secrets")  # as where the right to watch is missing
    assert post.watches.problem() != ""


def test_silence_is(post: Post) -> None:
    post.begin()
    post.clock.advance(SILENT)
    assert post.watches.problem() == ""
    post.clock.advance(1)
    post.watches.watching("externalsecrets")
    assert post.watches.problem() == "secrets have not been watched for 731s"


def test_lists_are_passed_on_by_kind(post: Post) -> None:
    post.watches.listing("secrets")
    post.watches.listing("pods")
    assert post.listed == ["Secret"]


def test_what_nobody_asked_to_be_watched_is_nothing(post: Post) -> None:
    post.begin()
    post.watches.watching("pods")
    post.watches.failed("pods")
    post.clock.advance(FAILING + 1)
    assert post.watches.problem() == ""


def test_a_start_is_taken_once(post: Post) -> None:
    post.watches.go_on("secrets", "17")
    assert post.watches.take_start("secrets") == "17"
    assert post.watches.take_start("secrets") == ""
    assert post.watches.take_start("externalsecrets") == ""
    assert post.watches.take_start("pods") == ""
