import pytest

from leasehold.domain import errors
from leasehold.domain.errors import Bug, Conflict, Denied, DomainError, Misconfigured, Missing, Pace, Unavailable

PACES = {
    Misconfigured: Pace.SLOW,
    Denied: Pace.SLOW,
    Missing: Pace.BACKOFF,
    Unavailable: Pace.BACKOFF,
    Conflict: Pace.NOW,
    Bug: Pace.SLOW,
}


@pytest.mark.parametrize(("kind", "pace"), PACES.items(), ids=lambda item: getattr(item, "__name__", ""))
def test_each_consequence_has_its_pace(kind, pace):
    assert kind("x").retry.pace is pace


def test_the_table_is_complete():
    named = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DomainError)}
    assert named - {DomainError} == set(PACES)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Denied("it is refused"), "it is refused"),
        (Denied("it is refused", path="secret/app"), "it is refused (secret/app)"),
        (Denied("it is refused", remedy="grant it"), "it is refused; grant it"),
        (Denied("it is refused", path="secret/app", remedy="grant it"), "it is refused (secret/app); grant it"),
    ],
)
def test_a_message_names_cause_path_and_remedy(error, text):
    assert str(error) == text


def test_the_other_side_may_name_the_time_to_wait():
    assert Unavailable("throttled", retry_after=7.0).retry.after == 7.0
    assert Unavailable("throttled").retry.after is None
