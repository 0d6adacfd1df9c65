from datetime import UTC, datetime, timedelta, timezone

from leasehold.api.status import ExternalSecretCondition, ExternalSecretStatus, LeaseStatus


def test_times_are_written_as_the_api_server_writes_them():
    summer = timezone(timedelta(hours=2))
    status = ExternalSecretStatus(refresh_time=datetime(2026, 8, 8, 10, tzinfo=UTC))
    assert status.to_wire()["refreshTime"] == "2026-08-08T10:00:00Z"
    later = ExternalSecretStatus(refresh_time=datetime(2026, 8, 8, 12, tzinfo=summer))
    assert later.refresh_time == status.refresh_time


def test_a_time_may_be_null():
    assert ExternalSecretStatus.model_validate({"refreshTime": None}).refresh_time is None


def test_what_another_version_wrote_is_read():
    raw = {
        "conditions": [{"type": "Frozen", "status": "Unknown"}],
        "leases": [{"source": "data[0]", "state": "Unheard", "extra": 1}],
    }
    status = ExternalSecretStatus.model_validate(raw)
    assert status.conditions == (ExternalSecretCondition(type="Frozen", status="Unknown"),)
    assert status.leases == (LeaseStatus(source="data[0]", state="Unheard"),)


def test_an_empty_list_is_written_so_that_a_patch_clears_it():
    assert ExternalSecretStatus().to_wire() == {"conditions": [], "leases": [], "history": []}
