"""What the whole run has left: the calls that the chart's rights allow and no others, and no secret anywhere.

These tests come last. Rights that are missing are tested here, too, because they need operators of their own.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator

import pytest

from testbed.operator import Operator
from testbed.postgres import Postgres
from tests.live.operator.cluster import KINDS, Body, Spot, eventually
from tests.live.operator.conftest import MakeOperator
from tests.live.operator.lender import Lender
from tests.live.operator.tenant import CANARY, Tenant, distinct, generated, whole
from tests.live.operator.traces import Call, Run, lines, metric
from tools import rbac
from tools.rbac import Scope

TOKEN = re.compile(r"\bhv[sbr]\.[A-Za-z0-9_-]{20,}")
JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")
LEASE = re.compile(r"\bcreds/[a-z0-9-]+/[A-Za-z0-9]{20,}")
USER = re.compile(r"\bv-[a-z0-9]+-[A-Za-z0-9-]+-[A-Za-z0-9]{20}-\d{10}")
SHAPES = (re.compile(CANARY), TOKEN, JWT, LEASE, USER)


# ------------------------------------------------------------------------------------------------------ missing rights


def shear(run: Run, operator: Operator, namespace: str, resource: str, verb: str) -> None:
    """Take one verb on one resource away from an operator."""
    spot = Spot("Role", namespace, rbac.NAME)
    role = run.cluster.get(spot)
    assert role is not None
    rules: list[Body] = []
    for rule in role["rules"]:
        others = [each for each in rule["resources"] if each != resource]
        if others:
            rules.append({**rule, "resources": others})
        if resource in rule["resources"] and (verbs := [each for each in rule["verbs"] if each != verb]):
            rules.append({**rule, "resources": [resource], "verbs": verbs})
    run.cluster.patch(spot, {"rules": rules})
    run.shorn.append(operator)


def grant(run: Run, operator: Operator, namespace: str) -> None:
    """Give an operator all its rights again."""
    role = next(each for each in rbac.manifests(operator.namespace, "leasehold", namespace) if each["kind"] == "Role")
    run.cluster.patch(Spot("Role", namespace, rbac.NAME), {"rules": role["rules"]})


def test_the_right_to_list_is_missing(tenant: Tenant, run: Run, make_operator: MakeOperator) -> None:
    operator = make_operator()
    shear(run, operator, tenant.namespace, "externalsecrets", "list")
    operator.start(wait=False)
    eventually(lambda: bool(lines(operator, "not_ready")), "telling what is missing")
    assert "the operator may not list externalsecrets" in lines(operator, "not_ready")[0]["problem"]
    tenant.want()
    grant(run, operator, tenant.namespace)
    tenant.until_ready()
    eventually(operator.is_ready, "ready")


def test_the_right_to_request_tokens_is_missing(tenant: Tenant, run: Run, make_operator: MakeOperator) -> None:
    operator = make_operator()
    shear(run, operator, tenant.namespace, "serviceaccounts/token", "create")
    operator.start()
    tenant.want()
    message = "the operator may not create serviceaccounts/token"
    where = f"serviceaccounts/token {tenant.namespace}/app"
    tenant.until_failed("vault", message, where, "grant it in the operator's role", kind="SecretStore")
    grant(run, operator, tenant.namespace)
    tenant.until_ready()


def test_the_right_to_report_is_missing(tenant: Tenant, run: Run, make_operator: MakeOperator) -> None:
    operator = make_operator()
    shear(run, operator, tenant.namespace, "externalsecrets/status", "patch")
    operator.start()
    tenant.want()
    # the work is done, and the log says why nobody hears of it
    tenant.until_values(tenant.mount.get("app"))
    eventually(lambda: bool(lines(operator, "status_not_written")), "telling what is missing")
    told = lines(operator, "status_not_written")[0]
    assert told["object"] == f"ExternalSecret {tenant.namespace}/app"
    assert "the operator may not patch externalsecrets/status" in told["problem"]
    grant(run, operator, tenant.namespace)
    tenant.until_ready()


def test_the_right_to_write_is_missing(tenant: Tenant, run: Run, make_operator: MakeOperator) -> None:
    operator = make_operator()
    shear(run, operator, tenant.namespace, "secrets", "create")
    operator.start()
    tenant.want()
    problem = f"could not update secret: the operator may not create secrets (secrets {tenant.namespace}/app)"
    tenant.until_failed("app", problem, "grant it in the operator's role")
    grant(run, operator, tenant.namespace)
    tenant.until_ready()


def test_the_right_to_tell_is_missing(tenant: Tenant, run: Run, make_operator: MakeOperator) -> None:
    operator = make_operator()
    shear(run, operator, tenant.namespace, "events", "create")
    operator.start()
    tenant.want()
    tenant.until_ready()
    eventually(lambda: (metric(operator, "leasehold_events_dropped_total") or 0) >= 1, "counting what was not told")


# ---------------------------------------------------------------------------------------------------------- the calls


def rules() -> Iterator[tuple[rbac.Rule, Call]]:
    for rule in rbac.RULES:
        for verb in rule.verbs:
            yield rule, Call(verb, rule.group, rule.resource, own=rule.scope is Scope.OWN)


def test_no_right_is_missing_and_none_is_unused(whole_run: Run) -> None:
    calls, forbidden = whole_run.calls()
    assert not forbidden
    granted = {call for _, call in rules()}
    # in its own namespace an operator of the whole cluster may do what it may do everywhere
    assert {call for call in calls if call not in granted and call._replace(own=False) not in granted} == set()
    if whole_run.partial:
        pytest.skip("which rights are unused is seen where all tests of the folder are run")
    unused = {call for rule, call in rules() if not rule.implied and call not in calls}
    assert unused == set()


# --------------------------------------------------------------------------------------------------------- no secrets


def test_no_secret_shows_anywhere(
    tenant: Tenant, lender: Lender, postgres: Postgres, make_operator: MakeOperator, whole_run: Run
) -> None:
    """Values, passwords, users, tokens, JWTs, lease ids and accessors are in Secrets and nowhere else."""
    operator = make_operator()
    operator.start()
    lender.lend(ttl="6s")
    lender.want()
    values = lender.values()
    tenant.want("static", refreshInterval="1s")
    tenant.until_ready("static")
    tenant.want("broken", dataFrom=whole("nope"))
    tenant.until_failed("broken")
    tenant.mount.put("odd", {"a/b": distinct(), "a:b": distinct()})
    tenant.want("collides", dataFrom=whole("odd"))
    tenant.until_failed("collides")
    lender.generator("refused", path=f"{lender.path}-nope")
    tenant.want("refused", secretStoreRef=None, dataFrom=generated("refused"))
    tenant.until_failed("refused")
    lender.until_renewed(lender.only_lease())
    postgres.stop()
    lender.vault.api("PUT", "sys/leases/revoke-force/" + lender.path)
    tenant.until_failed("app")
    page = operator.metrics()
    secrets = {values["username"], values["password"], *_recorded(whole_run, operator)}
    texts = {"metrics": page, **_logs(whole_run), **_objects(tenant)}
    for place, text in texts.items():
        for shape in SHAPES:
            assert not shape.search(text), f"{shape.pattern} in {place}"
        for secret in secrets:
            assert secret not in text, f"a secret shows in {place}"


def _recorded(run: Run, operator: Operator) -> set[str]:
    """Return what the operator's records hold: lease ids, accessors, values."""
    found: set[str] = set()
    for body in run.cluster.every(Spot("Secret", operator.namespace), labelSelector="leasehold.dev/record=lease"):
        record = json.loads(base64.b64decode(body["data"]["record.json"]))
        for source in record["sources"].values():
            for lease in filter(None, [source["current"], *(old["lease"] for old in source["old"])]):
                hidden = [lease["lease_id"], lease["owner"], *lease["values"].values()]
                found |= {base64.b64decode(text).decode() for text in hidden}
    return {text for text in found if text}


def _logs(run: Run) -> dict[str, str]:
    return {one.process.log.name: one.process.log.read_text(encoding="utf-8") for one in run.operators}


def _objects(tenant: Tenant) -> dict[str, str]:
    """Return every object of the namespace and all Events of the run, without the data of Secrets."""
    found: dict[str, str] = {}
    for kind in KINDS:
        for body in tenant.cluster.every(Spot(kind, tenant.namespace)):
            body.pop("data", None)
            found[f"{kind} {body['metadata']['name']}"] = json.dumps(body)
    for body in tenant.cluster.every(Spot("Event")):
        found[f"Event {body['metadata']['namespace']}/{body['metadata']['name']}"] = json.dumps(body)
    return found
