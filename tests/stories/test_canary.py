"""The canary itself: it lives through a healthy pass, and it can die."""

from collections.abc import Callable

import pytest

from leasehold.domain.errors import Unavailable
from leasehold.domain.reasons import EventReason
from tests.stories.town import Town, key

PLANTS: dict[str, Callable[[Town], object]] = {
    "status": lambda town: town.edit("ExternalSecret", "db", lambda body: body["status"].update(note="canary")),
    "annotation": lambda town: town.annotate(note="canary"),
    "secret's label": lambda town: town.edit(
        "Secret", "db", lambda body: body["metadata"]["labels"].update(a="canary")
    ),
    "event": lambda town: town.op.events.emit(key(), uid="u", reason=EventReason.UPDATED, message="hvs.0001"),
    "error": lambda _: Unavailable("it said: canary"),
    "log": lambda town: town.logs.write("accessor-0001\n"),
    "metric": lambda town: town.metrics.lease_renewed("canary"),
}


async def test_a_healthy_pass_shows_the_value_in_the_secret_only(town: Town) -> None:
    town.leased("lease")
    town.secret()
    await town.start()
    assert town.data() == {"password": "canary-first"}
    assert "canary" in (town.data("lease") or {})["password"]
    assert "LeaseMinted" in town.logs.getvalue()  # the log is listened to
    assert town.leaks() == []


@pytest.mark.parametrize("where", PLANTS)
async def test_a_planted_secret_is_found(town: Town, where: str) -> None:
    other = Town(errors=town.errors, logs=town.logs)
    other.secret()
    await other.start()
    assert other.leaks() == []
    PLANTS[where](other)
    await other.op.events.flush()
    assert other.leaks() != []
    other.errors.clear()
    other.logs.seek(0)
    other.logs.truncate()
