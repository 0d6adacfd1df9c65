"""The story, step by step. Each step looks at the real servers and raises Failed where it is not true."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from e2e.clients import Clients
from e2e.narration import Failed
from e2e.stage import MANIFESTS, MAX_TTL, NAMESPACE, TTL, Stage

SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
WORKLOADS = ("payments", "reports", "dashboard")
"""Has the Secret database in its environment; mounts it as files; does not use it."""
RENEWALS = 2
"""Renewals that are waited for."""


@dataclass(slots=True)
class Story:
    """What one step leaves for the next."""

    stage: Stage
    clients: Clients | None = None
    first: dict[str, str] | None = None
    """The first leased credential; its password is never shown."""
    born: float = 0.0

    def tell(self, title: str) -> None:
        """Begin a step."""
        self.stage.narrator.step(title)

    def seen(self, text: str) -> None:
        """Tell what was checked."""
        self.stage.narrator.seen(text)


def kv_to_secret(story: Story) -> None:
    """A KV value becomes a Secret."""
    story.tell("A value of Vault's KV becomes a Secret")
    stage = story.stage
    stage.apply("10-namespace.yaml", "20-store.yaml", "30-settings.yaml")
    stage.narrator.fact("applied docs/examples/quickstart: a SecretStore and an ExternalSecret")
    data, seconds = stage.wait("Secret payments/settings is made", lambda: stage.secret("settings"))
    expect(data == {"feature": "on", "greeting": "good morning"}, "the Secret equals what Vault holds", "it differs")
    story.seen(f"Secret {NAMESPACE}/settings holds {len(data)} keys, {seconds * 1000:.0f} ms after kubectl returned")
    body = stage.get(f"{SECRETS}/settings")
    owner = body["metadata"]["ownerReferences"][0] if body else {}
    expect(owner.get("kind") == "ExternalSecret", "the Secret belongs to its ExternalSecret", str(owner.get("kind")))
    metadata = body["metadata"] if body else {}
    marks = {*metadata.get("labels", {}), *metadata.get("annotations", {})}
    wanted = {"reconcile.external-secrets.io/managed", "reconcile.external-secrets.io/data-hash"}
    expect(wanted <= marks, "External Secrets Operator's label and hash", f"{sorted(marks)}")
    story.seen("it is owned by its ExternalSecret, and has the label and the hash of External Secrets Operator")


def lease_to_secret(story: Story) -> None:
    """A leased database user becomes a Secret and logs in."""
    story.tell(f"A database user with a lease of {TTL} s becomes a Secret")
    stage = story.stage
    stage.apply("40-database.yaml", "50-workloads.yaml")
    data, seconds = stage.wait("Secret payments/database is made", lambda: stage.secret("database"))
    story.first, story.born = data, time.monotonic()
    user = stage.log_in(data["username"], data["password"])
    story.seen(f"{user} logs in, {seconds * 1000:.0f} ms after kubectl returned")
    story.seen(f"PostgreSQL lets it in until {stage.valid_until(user)} (lease end + 5 s)")
    status = stage.external_secret("database").get("status", {})
    stage.narrator.fact(f"status says: expires {status.get('expires')}, renews {status.get('renews')}")
    stage.apply("reports.yaml", folder=MANIFESTS)
    for name in WORKLOADS:
        stage.wait(f"Deployment {name} runs", functools.partial(runs, stage, name))
    story.clients = Clients(stage, "payments", "database")
    story.clients.start()
    stage.narrator.fact("from now on clients log in 20 times a second: readers of the Secret, and the pods of payments")


def edit_followed(story: Story) -> None:
    """An edit in Vault is followed within the refresh interval."""
    story.tell("An edit in Vault is followed (refreshInterval 10 s)")
    stage = story.stage
    stage.vault.api("POST", "secret/data/payments/settings", {"data": {"feature": "on", "greeting": "good evening"}})
    look: Callable[[], bool] = lambda: (stage.secret("settings") or {}).get("greeting") == "good evening"  # noqa: E731
    _, seconds = stage.wait("the Secret follows the edit", look, patience=20)
    story.seen(f"the Secret has the new greeting after {seconds:.1f} s")


def damage_repaired(story: Story) -> None:
    """Secrets that were deleted or edited by hand are put right."""
    story.tell("A Secret deleted by hand, and one edited by hand, are put right")
    stage = story.stage
    stage.change("DELETE", f"{SECRETS}/settings")
    _, seconds = stage.wait("the deleted Secret is back", lambda: stage.secret("settings"))
    story.seen(f"deleted: back after {seconds * 1000:.0f} ms")
    body: Any = stage.get(f"{SECRETS}/settings")
    right = dict(body["data"])
    body["data"]["greeting"] = "dGFtcGVyZWQ="
    stage.change("PUT", f"{SECRETS}/settings", body)
    _, seconds = stage.wait(
        "the edited Secret is right again", lambda: (stage.get(f"{SECRETS}/settings") or {}).get("data") == right
    )
    story.seen(f"edited: right again after {seconds * 1000:.0f} ms")
    stage.change("DELETE", f"{SECRETS}/database")
    data, seconds = stage.wait("the leased Secret is back", lambda: stage.secret("database"))
    expect(data == story.first, "the same leased credential is restored", "another one was issued")
    story.seen(f"the leased Secret too, after {seconds * 1000:.0f} ms, with the same user: nothing new was issued")


def renewals(story: Story) -> None:
    """The lease is renewed before it ends: PostgreSQL, Vault and status say so, and nothing else moves."""
    story.tell("The lease is renewed, not replaced")
    stage = story.stage
    user = (story.first or {})["username"]
    version = secret_version(stage)
    revisions = {name: revision(stage.deployment(name)) for name in WORKLOADS}
    until, shown = stage.valid_until(user), expires(stage)
    for _ in range(RENEWALS):
        before = until
        until, _ = stage.wait("the lease is renewed", functools.partial(moved_on, stage, user, before), patience=TTL)
        age = time.monotonic() - story.born
        story.seen(
            f"{age:.0f} s old: valid until {until}, before until {before}; Vault gives it {stage.lease_left()} s"
        )
        was = shown
        shown, _ = stage.wait("status.expires moves too", functools.partial(later, stage, was))
    story.seen(f"status.expires moved with it: {shown}")
    expect(secret_version(stage) == version, "the Secret is not touched by renewals", "it was written")
    now = {name: revision(stage.deployment(name)) for name in WORKLOADS}
    expect(now == revisions, "nobody is restarted by renewals", f"{now}, before {revisions}")
    story.seen("the Secret was not touched, nobody was restarted")


def rotation(story: Story) -> None:
    """Before the longest life ends: a new user, the Secret written, one workload restarted, the old user gone."""
    story.tell(f"The longest life of {MAX_TTL} s nears: rotation")
    stage, first = story.stage, story.first or {}
    revisions = {name: revision(stage.deployment(name)) for name in WORKLOADS}
    data, _ = stage.wait(
        "a successor is published",
        lambda: held if (held := stage.secret("database")) and held != first else None,
        patience=MAX_TTL + 10,
    )
    story.seen(f"new user {data['username']}, {time.monotonic() - story.born:.0f} s after the first")
    expect(not stage.refuses(first["username"], first["password"]), "the old user still logs in", "it is gone already")
    story.seen("the old user still logs in: nobody is cut off")
    _, seconds = stage.wait("the rollout is complete", lambda: rolled_out(stage), patience=60)
    story.seen(f"payments (environment) restarted and is complete after {seconds:.1f} s")
    _, seconds = stage.wait(
        "the old user is gone", lambda: stage.refuses(first["username"], first["password"]), patience=40
    )
    story.seen(
        f"the old user is gone {seconds:.1f} s after the rollout (gracePeriod 10 s, or the end of its longest life)"
    )
    # Only now: a second restart would have come meanwhile.
    moved = {name: revision(stage.deployment(name)) - before for name, before in revisions.items()}
    expect(moved == {"payments": 1, "reports": 0, "dashboard": 0}, "only payments restarts, and once", str(moved))
    story.seen("payments restarted exactly once; reports (mounts the same Secret) and dashboard (another one) did not")
    stage.wait("Vault has one lease again", lambda: len(stage.leases()) == 1)
    story.seen("Vault has one lease again: that of the new user")


def nobody_noticed(story: Story) -> None:
    """Not one login failed."""
    story.tell("What the clients saw")
    if story.clients is None:
        raise Failed("clients log in", "they were not started")
    tally = story.clients.stop()
    story.clients = None
    failures = ", ".join(sorted(set(tally.failures)))
    expect(not tally.failures, "no login fails", f"{len(tally.failures)} of {tally.logins} failed: {failures}")
    expect(tally.rate > 10, "about 20 logins a second", f"{tally.rate:.1f}")
    expect(len(tally.users) >= 2, "logins as the old and the new user", f"{len(tally.users)} user")
    story.seen(f"{tally.logins} logins as {len(tally.users)} users, {tally.rate:.0f} a second, 0 failed")


def kubectl_tells(story: Story) -> None:
    """Kubectl shows what dies when, and why things happened."""
    story.tell("One look says what ends when, and why")
    stage = story.stage
    table = stage.plane.kubectl.run("get", "externalsecrets", "--namespace", NAMESPACE)
    expect("EXPIRES" in table and "ROLLOUT" in table, "columns Expires, Renews and Rollout", table)
    stage.narrator.quote(f"kubectl get es -n {NAMESPACE}", table)
    events, _ = stage.wait("events explain", lambda: told(stage))
    stage.narrator.quote(f"kubectl describe es database -n {NAMESPACE}   (its events)", events)


def deletion_revokes(story: Story) -> None:
    """The ExternalSecret goes, and its lease with it."""
    story.tell("The ExternalSecret is deleted: its lease is revoked")
    stage = story.stage
    data = stage.secret("database") or {}
    expect(not stage.refuses(data["username"], data["password"]), "the login works before", "it is refused")
    stage.plane.kubectl.run("delete", "externalsecret", "database", "--namespace", NAMESPACE)
    _, seconds = stage.wait("the login is refused", lambda: stage.refuses(data["username"], data["password"]))
    story.seen(f"{data['username']} can no longer log in, {seconds * 1000:.0f} ms after kubectl returned")
    stage.wait("the Secret is collected", lambda: stage.secret("database") is None)
    stage.wait("no lease is left behind", lambda: not stage.leases())
    story.seen("the Secret went with its owner; Vault has no lease of it left")


STEPS: tuple[Callable[[Story], None], ...] = (
    kv_to_secret,
    lease_to_secret,
    edit_followed,
    damage_repaired,
    renewals,
    rotation,
    nobody_noticed,
    kubectl_tells,
    deletion_revokes,
)


def expect(so: object, what: str, seen: str) -> None:
    """Raise Failed unless it is so."""
    if not so:
        raise Failed(what, seen)


def runs(stage: Stage, name: str) -> bool:
    """Tell whether a Deployment is there with all its replicas."""
    return available(stage.deployment(name))


def available(deployment: Any) -> bool:
    """Tell whether all replicas of a Deployment are there."""
    wanted = deployment.get("spec", {}).get("replicas")
    return wanted is not None and deployment.get("status", {}).get("availableReplicas") == wanted


def revision(deployment: Any) -> int:
    """Return how often the pod template of a Deployment has changed."""
    annotations = deployment.get("metadata", {}).get("annotations", {})
    return int(annotations.get("deployment.kubernetes.io/revision", 0))


def secret_version(stage: Stage) -> str:
    """Return the resourceVersion of the Secret database."""
    body = stage.get(f"{SECRETS}/database") or {}
    return str(body.get("metadata", {}).get("resourceVersion"))


def expires(stage: Stage) -> str:
    """Return status.expires of the ExternalSecret database."""
    return str(stage.external_secret("database").get("status", {}).get("expires", ""))


def moved_on(stage: Stage, user: str, before: str) -> str:
    """Return until when a user is let in, "" while that is as before. Raises Failed when the user is gone."""
    until = stage.valid_until(user)
    expect(until, f"{user} lives on", "it is gone")
    return "" if until == before else until


def later(stage: Stage, before: str) -> str:
    """Return status.expires, "" while it is as before."""
    now = expires(stage)
    return "" if now == before else now


def rolled_out(stage: Stage) -> bool:
    """Tell whether the rollout of the database credential is complete and has restarted somebody."""
    rollout = stage.external_secret("database").get("status", {}).get("rollout", {})
    return rollout.get("state") == "Complete" and bool(rollout.get("workloads"))


def told(stage: Stage) -> str:
    """Return the events of the database ExternalSecret as kubectl describe shows them, once the story is in them."""
    text = stage.plane.kubectl.run("describe", "externalsecret", "database", "--namespace", NAMESPACE)
    _, _, events = text.partition("Events:")
    wanted = ("LeaseMinted", "LeaseRotated", "RolloutStarted", "RolloutComplete")
    return events.strip("\n") if all(reason in events for reason in wanted) else ""
