import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.api.rollout import RolloutPolicy
from leasehold.api.status import WorkloadStatus
from leasehold.domain import restarts
from leasehold.domain.facts import Key, Workload, WorkloadRef
from leasehold.domain.restarts import RESTARTED_AT, annotation_name
from leasehold.domain.rollout import Demand, rfc3339
from leasehold.domain.values import SecretBytes

KEY = SecretBytes("fingerprint key")
NOW = 1_700_000_000.0
AUTO, ALWAYS, NEVER = RolloutPolicy.AUTO, RolloutPolicy.ALWAYS, RolloutPolicy.NEVER
WEB = WorkloadRef("Deployment", "shop", "web")
DB = annotation_name("db")


def demand(name="es", secret="db", keys=None, changed=("password",), policy=AUTO, **more):
    fields = {"targets": frozenset(), "published_at": NOW, "min_interval": 0.0, "deadline": 600.0, "seen": {}} | more
    return Demand(
        key=Key("ExternalSecret", "shop", name),
        uid=f"uid-{name}",
        secret=secret,
        policy=policy,
        keys={"user": "u1", "password": "p2"} if keys is None else keys,
        changed=frozenset(changed),
        **fields,
    )


def workload(*containers, ref=WEB, annotations=None, created_at=0.0, **spec):
    return Workload(
        ref=ref,
        uid="u",
        resource_version="1",
        generation=1,
        pod_spec={"containers": list(containers), **spec},
        pod_annotations=annotations or {},
        created_at=created_at,
    )


def env(*keys, secret="db", **more):
    refs = [{"name": k, "valueFrom": {"secretKeyRef": {"name": secret, "key": k, **more}}} for k in keys]
    return {"name": f"env-{secret}", "env": refs}


ENV_FROM = {"envFrom": [{"secretRef": {"name": "db"}}]}
MOUNT = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
VOLUMES = {
    "volume": {"secret": {"secretName": "db"}},
    "projected": {"projected": {"sources": [{"secret": {"name": "db"}}]}},
    "csi": {"csi": {"driver": "d", "nodePublishSecretRef": {"name": "db"}}},
}
SUB_PATH = {"volumeMounts": [{"name": "v", "mountPath": "/v/p", "subPath": "password"}]}


def mounted(kind, container=MOUNT, **spec):
    return workload(container, volumes=[{"name": "v", **VOLUMES[kind]}], **spec)


# B18: nine forms of consumption; restarted under Auto, under Always (never under Never)
MATRIX = {
    "env": (workload(env("password")), True, True),
    "envFrom": (workload(ENV_FROM), True, True),
    "volume": (mounted("volume"), False, True),
    "projected": (mounted("projected"), False, True),
    "csi": (mounted("csi"), False, True),
    "subPath": (mounted("volume", SUB_PATH), True, True),
    "initContainer": (workload({}, initContainers=[env("password")]), True, True),
    "imagePullSecrets": (workload({}, imagePullSecrets=[{"name": "db"}]), False, False),
    "ephemeral": (workload({}, ephemeralContainers=[env("password")]), False, False),
}


@pytest.mark.parametrize("policy", [AUTO, ALWAYS, NEVER])
@pytest.mark.parametrize("form", MATRIX)
def test_nine_forms_and_three_policies(form, policy):
    consumer, auto, always = MATRIX[form]
    expected = {AUTO: auto, ALWAYS: always, NEVER: False}[policy]
    assert (restarts.restart(consumer, [demand(policy=policy)], KEY, now=NOW) is not None) is expected


@pytest.mark.parametrize("policy", [AUTO, ALWAYS])
def test_only_those_that_take_a_changed_key(policy):
    asked = [demand(policy=policy, changed=["password"])]
    assert restarts.restart(workload(env("user")), asked, KEY, now=NOW) is None
    assert restarts.restart(workload(env("password", secret="other")), asked, KEY, now=NOW) is None
    assert restarts.restart(workload(env("password", optional=True)), asked, KEY, now=NOW) is not None


@pytest.mark.parametrize(
    ("consumer", "auto", "always"),
    [
        (workload(env("password")), True, True),
        (workload(env("user")), False, False),
        (mounted("volume"), False, True),
        (workload({}), True, True),  # reads it in a way that we cannot see: naming it is the statement
    ],
)
def test_named_targets(consumer, auto, always):
    for policy, expected in ((AUTO, auto), (ALWAYS, always)):
        asked = demand(policy=policy, targets=frozenset({("Deployment", "web")}))
        assert (restarts.restart(consumer, [asked], KEY, now=NOW) is not None) is expected


def test_targets_limit_to_the_named():
    asked = demand(policy=ALWAYS, targets=frozenset({("StatefulSet", "web"), ("Deployment", "api")}))
    assert restarts.restart(workload(env("password")), [asked], KEY, now=NOW) is None


def test_the_annotation_stands_for_the_keys_that_are_taken():
    def value(consumer, **more):
        return restarts.restart(consumer, [demand(**more)], KEY, now=NOW).annotations[DB]

    base = value(workload(env("password")))
    assert re.fullmatch("[0-9a-f]{16}", base)
    assert base == value(workload(env("password")), keys={"user": "u9", "password": "p2"})
    assert base != value(workload(env("password")), keys={"user": "u1", "password": "p3"})
    assert base != value(workload(env("password", "user")))


def test_a_value_cannot_be_confirmed_without_the_key():
    consumer, asked = workload(env("password")), [demand()]
    values = {restarts.restart(consumer, asked, SecretBytes(key), now=NOW).annotations[DB] for key in ("one", "two")}
    assert len(values) == 2


def test_one_patch_for_every_secret_and_nothing_of_ours_is_lost():
    kept = {"rollout.leasehold.dev/old": "0", "example.org/theirs": "1", RESTARTED_AT: "2020-01-01T00:00:00Z"}
    consumer = workload(env("password"), env("token", secret="api"), annotations=kept)
    asked = [demand(), demand("api", secret="api", keys={"token": "t2"}, changed=["token"])]
    found = restarts.restart(consumer, asked, KEY, now=NOW)
    assert set(found.annotations) == {"rollout.leasehold.dev/old", DB, annotation_name("api"), RESTARTED_AT}
    assert found.annotations[RESTARTED_AT] == "2023-11-14T22:13:20Z"
    assert [(need.secret, need.keys) for need in found.needs] == [("api", {"token"}), ("db", {"password"})]


def test_two_objects_that_write_into_one_secret_want_one_annotation():
    consumer = workload(ENV_FROM)
    one, two = demand("one", keys={"password": "p2"}), demand("two", keys={"user": "u2"}, changed=["user"])
    both = restarts.restart(consumer, [one, two], KEY, now=NOW)
    assert len(both.needs) == 1
    assert {asker.key.name for asker in both.needs[0].askers} == {"one", "two"}
    quiet = demand("two", keys={"user": "u2"}, changed=[])
    assert restarts.restart(consumer, [quiet, one], KEY, now=NOW).annotations == both.annotations


def test_of_two_objects_the_later_publication_says_what_a_key_is():
    consumer = workload(env("password"))
    behind = demand("zz", keys={"password": "p1", "user": "u1"}, changed=[], published_at=NOW - 60)
    found = restarts.restart(consumer, [demand(), behind], KEY, now=NOW)
    caught_up = demand("zz", published_at=NOW + 60)
    patched = workload(env("password"), annotations=found.annotations)
    assert restarts.restart(patched, [demand(), caught_up], KEY, now=NOW + 60) is None, "no second restart for it"


def test_a_workload_that_was_seen_to_restart_is_not_restarted_because_the_annotation_went():
    found = restarts.restart(workload(env("password")), [demand()], KEY, now=NOW)
    seen = {("Deployment", "web"): WorkloadStatus(kind="Deployment", name="web", wanted=found.annotations[DB])}
    assert restarts.restart(workload(env("password")), [demand(seen=seen)], KEY, now=NOW) is None
    newer = demand(seen=seen, keys={"user": "u1", "password": "p3"})
    assert restarts.restart(workload(env("password")), [newer], KEY, now=NOW) is not None


def test_a_workload_made_after_the_publication_has_the_value():
    def restarted(created_at):
        consumer = workload(env("password"), created_at=created_at)
        return restarts.restart(consumer, [demand()], KEY, now=NOW + 900) is not None

    assert not restarted(NOW + 61)
    assert restarted(NOW + 59), "clocks differ: in doubt it is restarted"
    assert restarted(0.0)


def test_no_restart_into_a_key_that_is_gone():
    gone = demand(keys={"user": "u2"}, changed=["password", "user"])
    assert restarts.restart(workload(env("password")), [gone], KEY, now=NOW) is None
    (need,) = restarts.needs(workload(env("password")), [gone], KEY)
    assert (need.lacking, need.open) == ({"password"}, False)
    assert restarts.restart(workload(env("password", optional=True)), [gone], KEY, now=NOW) is not None
    assert restarts.restart(workload(ENV_FROM), [gone], KEY, now=NOW) is not None
    other = demand("api", secret="api", keys={"token": "t2"}, changed=["token"])
    both = workload(env("password"), env("token", secret="api"))
    assert restarts.restart(both, [gone, other], KEY, now=NOW) is None, "its new pods would not start"


def test_a_key_of_somebody_else_in_the_secret_is_not_missed():
    merged = demand(keys={"password": "p2"}, changed=["password"])
    assert restarts.restart(workload(env("password", "foreign")), [merged], KEY, now=NOW) is not None


@pytest.mark.parametrize(
    ("last", "interval", "due"),
    [
        (NOW - 100, 600.0, NOW + 500),
        (NOW - 600, 600.0, None),
        (NOW - 100, 0.0, None),
        (NOW + 30, 600.0, NOW + 630),
        (NOW + 4000, 600.0, None),  # no clock is that wrong: not ours, or nonsense
    ],
)
def test_min_interval(last, interval, due):
    consumer = workload(env("password"), annotations={RESTARTED_AT: rfc3339(last)})
    assert restarts.restart(consumer, [demand(min_interval=interval)], KEY, now=NOW).not_before == due


@pytest.mark.parametrize("text", ["", "yesterday", "2023-11-14T22:13:20"])
def test_a_time_that_is_none_holds_nothing(text):
    consumer = workload(env("password"), annotations={RESTARTED_AT: text})
    assert restarts.not_before(consumer, [demand(min_interval=600.0)], now=NOW) is None


def test_the_longest_interval_of_all_who_restart_the_workload_counts():
    consumer = workload(env("password"), env("token", secret="api"), annotations={RESTARTED_AT: rfc3339(NOW - 100)})
    quiet = demand("api", secret="api", keys={"token": "t"}, changed=[], min_interval=3600.0)
    stranger = demand("else", secret="else", min_interval=9999.0)
    assert restarts.not_before(consumer, [demand(min_interval=200.0), quiet, stranger], now=NOW) == NOW + 3500


@pytest.mark.parametrize("name", ["db", "a.b-c", "x" * 63, "x" * 64, "a" * 50 + "." + "b" * 50, "restarted-at"])
def test_names_of_annotations(name):
    found = annotation_name(name)
    part = found.removeprefix("rollout.leasehold.dev/")
    assert re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", part)
    assert found != RESTARTED_AT
    assert (part == name) == (len(name) <= 63 and name != "restarted-at")


def test_long_names_stay_apart():
    assert annotation_name("x" * 200) != annotation_name("x" * 201)


NAMES = st.sampled_from(["a", "b", "c", "d"])
SECRETS = st.sampled_from(["db", "api", "restarted-at"])
CONTAINERS = st.one_of(
    st.builds(lambda keys, secret: env(*keys, secret=secret), st.lists(NAMES, max_size=3), SECRETS),
    st.builds(lambda secret: {"envFrom": [{"secretRef": {"name": secret}}]}, SECRETS),
    st.just(MOUNT),
    st.just(SUB_PATH),
)


@st.composite
def demands(draw):
    count = draw(st.integers(1, 4))
    return [
        demand(
            name=f"es-{number}",
            secret=draw(SECRETS),
            keys=draw(st.dictionaries(NAMES, st.sampled_from(["1", "2"]))),
            changed=draw(st.sets(NAMES)),
            policy=draw(st.sampled_from(RolloutPolicy)),
            targets=draw(st.sampled_from([frozenset(), frozenset({("Deployment", "web")})])),
        )
        for number in range(count)
    ]


@given(containers=st.lists(CONTAINERS, min_size=1, max_size=3), asked=demands(), later=st.floats(0, 1e6))
def test_planning_again_after_the_patch_is_nothing(containers, asked, later):
    volumes = [{"name": "v", **VOLUMES["volume"]}]
    before = workload(*containers, volumes=volumes, annotations={"example.org/theirs": "1"})
    found = restarts.restart(before, asked, KEY, now=NOW)
    if found is None:
        return
    patched = {**before.pod_annotations, **found.annotations}
    after = workload(*containers, volumes=volumes, annotations=patched)
    assert restarts.restart(after, asked, KEY, now=NOW + later) is None
    assert all(need.applied for need in restarts.needs(after, asked, KEY))
    # and a server-side apply that drops what is not named would lose nothing of ours
    assert {name for name in patched if name.startswith(restarts.PREFIX)} == set(found.annotations)
