"""A rotation with its rollout: publish, restart who cannot see it, verify, grace, revoke; and a crash at every step."""

from typing import Any

import pytest

from leasehold.domain.facts import WorkloadRef
from leasehold.providers.vault.errors import Why
from tests.stories.crashes import KINDS, crash_at
from tests.stories.town import HOUR, SHOP, Town
from tests.worlds.vault import DatabaseRole

WEB = WorkloadRef("Deployment", SHOP, "web")
LIFE = 2 * HOUR
TERMS: dict[str, Any] = {"rollout": {"deadline": "10m"}, "lease": {"rotateBefore": "10m", "gracePeriod": "1m"}}


class Pods:
    """The pods of the Deployment: they run with what the Secret held when their controller last replaced them."""

    def __init__(self, town: Town) -> None:
        self.town, self.user, self.stuck = town, (town.data() or {}).get("username"), False
        town.cluster.finish_rollout(WEB)

    def replace(self) -> None:
        """Finish a rollout that is under way."""
        body = self.town.cluster.find("Deployment", SHOP, "web") or {}
        if not self.stuck and body["status"].get("observedGeneration") != body["metadata"]["generation"]:
            self.user = (self.town.data() or {}).get("username")
            self.town.cluster.finish_rollout(WEB)

    @property
    def work(self) -> bool:
        """Tell whether the database lets the running pods in, and whoever reads the Secret now."""
        return self.town.lets_in(self.user) and self.town.works()


async def rotating(town: Town, *, lead: float = 600.0, **terms: Any) -> Pods:
    """Start, and come to the last seconds before the rotation."""
    town.vault.database["app"] = DatabaseRole(default_ttl=LIFE, max_ttl=LIFE)
    town.deployment()
    town.leased(**(TERMS | terms))
    op = await town.start()
    pods = Pods(town)
    await op.until(op.clock.now() + LIFE - lead - 5.0)
    assert (town.mints, pods.work) == (1, True)
    return pods


async def pass_time(town: Town, pods: Pods, seconds: float, *, step: float = 5.0) -> None:
    """Let time pass, pods be replaced within a step, and nobody be locked out at any step."""
    for _ in range(int(seconds / step)):
        await town.op.after(step)
        assert pods.work
        pods.replace()
        assert pods.work
        assert len(town.leases) <= 2


async def test_a_rotation_is_one_mint_one_write_one_restart_one_grace(town: Town) -> None:
    pods = await rotating(town)
    old, before = pods.user, town.writes("deployments")
    await pass_time(town, pods, 20.0)
    assert town.lets_in(old)
    await pass_time(town, pods, 120.0)
    assert (town.mints, town.writes(), town.writes("deployments") - before) == (2, 2, 1)
    assert (town.lets_in(old), pods.user == (town.data() or {})["username"], len(town.leases)) == (False, True, 1)
    assert town.shown()["rollout"]["state"] == "Complete"
    assert [entry["state"] for entry in town.shown()["leases"]] == ["Active"]
    told = [reason for reason in town.reasons() if reason.startswith(("Lease", "Rollout"))]
    assert told == ["LeaseMinted", "LeaseRotated", "RolloutStarted", "RolloutComplete", "LeaseRetired"]


async def test_the_old_credential_lives_until_the_rollout_is_verified(town: Town) -> None:
    pods = await rotating(town)
    old, pods.stuck = pods.user, True
    await pass_time(town, pods, 540.0)
    assert (town.lets_in(old), town.shown()["rollout"]["state"]) == (True, "Progressing")
    pods.stuck = False
    await pass_time(town, pods, 120.0)
    assert (town.lets_in(old), town.shown()["rollout"]["state"]) == (False, "Complete")


async def test_a_rollout_that_fails_shortens_nothing(town: Town) -> None:
    pods = await rotating(town, lead=1800.0, lease={"rotateBefore": "30m", "gracePeriod": "1m"})
    await town.op.after(6.0)
    pods.stuck, old = True, pods.user
    await town.op.after(1200.0)
    assert "RolloutFailed" in town.reasons() or town.shown()["rollout"]["state"] == "Failed"
    assert town.lets_in(old)
    pods.stuck = False
    pods.replace()
    await town.op.after(300.0)
    assert (town.lets_in(old), town.shown()["rollout"]["state"]) == (False, "Complete")
    assert town.writes("deployments") == 1


async def test_two_secrets_that_change_together_are_one_restart(town: Town) -> None:
    town.vault.put("app/two", {"password": "canary-two"})
    town.deployment()
    more = {"name": "TWO", "valueFrom": {"secretKeyRef": {"name": "two", "key": "password"}}}

    def use(body: dict[str, Any]) -> None:
        body["spec"]["template"]["spec"]["containers"][0]["env"].append(more)

    town.edit("Deployment", "web", use)
    town.secret(refreshInterval="60s", rollout={})
    two = [{"secretKey": "password", "remoteRef": {"key": "app/two", "property": "password"}}]
    town.secret("two", data=two, refreshInterval="60s", rollout={})
    op = await town.start()
    town.cluster.finish_rollout(WEB)
    await op.after(30.0)
    assert town.writes("deployments") == 0
    for path in ("app/db", "app/two"):
        town.vault.put(path, {"password": "canary-new"})
    await op.after(61.0)
    assert (town.writes(), town.writes("deployments")) == (4, 1)
    town.cluster.finish_rollout(WEB)
    await op.after(60.0)
    assert [town.shown(name)["rollout"]["state"] for name in ("db", "two")] == ["Complete", "Complete"]


async def test_a_right_that_is_missing_to_restart_is_named_and_the_old_credential_lives(town: Town) -> None:
    pods = await rotating(town)
    right, old = town.cluster.deny("patch", "deployments"), pods.user
    await pass_time(town, pods, 300.0)
    (entry,) = town.shown()["rollout"]["workloads"]
    assert (entry["state"], town.lets_in(old), town.ready()[0]) == ("Pending", True, "True")
    assert "patch deployments" in entry["message"]
    right.lift()
    await pass_time(town, pods, 240.0)
    assert (town.lets_in(old), town.shown()["rollout"]["state"]) == (False, "Complete")


@pytest.mark.parametrize("outage", [Why.REFUSED, Why.SILENT, Why.LOST])
async def test_vault_is_away_during_the_rotation(town: Town, outage: Why) -> None:
    pods = await rotating(town)
    await town.op.after(6.0)
    town.vault.fault = outage
    await pass_time(town, pods, 240.0)
    town.vault.fault = None
    await pass_time(town, pods, 600.0)
    assert (town.mints, len(town.leases), town.shown()["rollout"]["state"]) == (2, 1, "Complete")


# ---------------------------------------------------------------------------------------------------- a crash anywhere


def strays(town: Town) -> int:
    """How many owner tokens live on which no lease hangs: one, if the crash came between its login and its intent."""
    held = {lease.token for lease in town.vault.book.leases.values()}
    return sum(token.period > 0 and token.value not in held for token in town.vault.book.tokens.values())


@pytest.mark.parametrize("kind", KINDS)
async def test_a_crash_at_any_request_of_a_rotation_locks_nobody_out(town: Town, kind: str) -> None:
    nth = 0
    while True:
        other = Town(errors=town.errors, logs=town.logs)
        pods = await rotating(other)

        async def act(other: Town = other, pods: Pods = pods) -> None:
            await pass_time(other, pods, 90.0, step=10.0)

        crashed = await crash_at(other, kind, nth, act)
        await pass_time(other, pods, 160.0, step=20.0)
        place = f"{kind} {nth}"
        assert (other.ready()[0], other.shown()["rollout"]["state"]) == ("True", "Complete"), place
        assert (len(other.leases), pods.user) == (1, (other.data() or {})["username"]), place
        assert other.mints <= 3, place  # at most the one that was cut off is made again
        assert strays(other) <= 1, place
        assert other.writes("deployments") <= 3, place
        other.close()
        nth += 1
        if not crashed:
            break
    assert nth > 3


@pytest.mark.parametrize("kind", KINDS)
async def test_a_crash_at_any_request_of_a_first_sync_leaves_one_lease(town: Town, kind: str) -> None:
    nth = 0
    while True:
        other = Town(errors=town.errors, logs=town.logs)
        other.leased()
        await other.boot()
        crashed = await crash_at(other, kind, nth, other.op.quiet)
        await other.op.after(120.0)
        place = f"{kind} {nth}"
        assert (other.ready()[0], other.works(), len(other.leases)) == ("True", True, 1), place
        assert strays(other) <= 1, place
        other.close()
        nth += 1
        if not crashed:
            break
    assert nth > 3


@pytest.mark.parametrize("kind", KINDS)
async def test_a_crash_at_any_request_of_a_deletion_leaves_nothing(town: Town, kind: str) -> None:
    nth = 0
    while True:
        other = Town(errors=town.errors, logs=town.logs)
        other.leased()
        await other.start()
        other.cluster.remove("ExternalSecret", SHOP, "db")
        crashed = await crash_at(other, kind, nth, other.op.quiet)
        await other.op.after(120.0)
        assert (other.leases, other.op.records.all()) == ([], ()), f"{kind} {nth}"
        other.close()
        nth += 1
        if not crashed:
            break
    assert nth > 1
