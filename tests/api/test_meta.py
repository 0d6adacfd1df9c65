import re

import pytest

from leasehold.api import meta


def test_resource_types_know_their_address():
    kind = meta.ResourceType(group="g.example", version="v1", kind="SomeKind", plural="somekinds", namespaced=True)
    assert kind.api_version == "g.example/v1"
    assert kind.singular == "somekind"


@pytest.mark.parametrize(
    "line",
    [
        "* * * * *",
        "*/5 0-6 1,15 JAN-MAR MON-FRI",
        "0 22 ? * 5L",
        "0  3\t* * *",
        "@daily",
        "@midnight",
        "@hourly",
        "@every 1h30m",
    ],
)
def test_schedules_that_are_taken(line):
    assert re.search(meta.CRON, line)


@pytest.mark.parametrize("line", ["", "* * * *", "* * * * * *", "@sometimes", "@every", "every day", "0 3 * * ;"])
def test_schedules_that_are_refused(line):
    assert not re.search(meta.CRON, line)


def test_absent_fields_stay_absent_on_the_wire():
    assert meta.SecretKeySelector(name="s").to_wire() == {"name": "s"}
    assert meta.Condition(type="Ready", status="True").to_wire() == {"type": "Ready", "status": "True"}
