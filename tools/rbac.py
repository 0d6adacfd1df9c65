"""What the operator may do in a cluster: the one table from which chart, demo, tests and reference page are made.

The table is the smallest that works. A live test compares it with the audit log of a whole run: a call that no rule
covers fails it, and so does a rule that no call used. Nothing here renders text; see `tools.chart`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

NAME = "leasehold"
API_GROUP = "rbac.authorization.k8s.io"
_ESO = "external-secrets.io"
_GENERATORS = "generators.external-secrets.io"


class Scope(Enum):
    """Where a rule holds."""

    WATCHED = "watched"
    """In every namespace, or in the one that a namespaced installation watches."""
    CLUSTER = "cluster"
    """Objects outside of namespaces: a namespaced installation does without."""
    OWN = "own"
    """In the operator's own namespace."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Verbs on one resource, and what they are for."""

    group: str
    """API group, "" for the core group."""
    resource: str
    """With its subresource, such as externalsecrets/status."""
    verbs: tuple[str, ...]
    scope: Scope
    why: str
    implied: bool = False
    """True where a check of the API server asks for it, so that no request of its own shows it in an audit log."""
    own_account: bool = False
    """True where it holds for the operator's own ServiceAccount only."""


RULES: tuple[Rule, ...] = (
    Rule(_ESO, "externalsecrets", ("list", "watch"), Scope.WATCHED, "hear what is wanted"),
    Rule(_ESO, "externalsecrets/status", ("patch",), Scope.WATCHED, "report conditions, leases and rollouts"),
    Rule(
        _ESO,
        "externalsecrets/finalizers",
        ("update",),
        Scope.WATCHED,
        "name an ExternalSecret as the owner of its Secret where admission (OwnerReferencesPermissionEnforcement,"
        " on by default in OpenShift) asks for this right",
        implied=True,
    ),
    Rule(_ESO, "secretstores", ("list", "watch"), Scope.WATCHED, "hear of the stores that values are read from"),
    Rule(_ESO, "secretstores/status", ("patch",), Scope.WATCHED, "report whether a store works"),
    Rule(_ESO, "clustersecretstores", ("list", "watch"), Scope.CLUSTER, "hear of the stores of the whole cluster"),
    Rule(_ESO, "clustersecretstores/status", ("patch",), Scope.CLUSTER, "report whether a store works"),
    Rule(_GENERATORS, "vaultdynamicsecrets", ("list", "watch"), Scope.WATCHED, "hear of the generators in use"),
    Rule(
        "",
        "secrets",
        ("list", "watch"),
        Scope.WATCHED,
        "see a target changed or deleted by hand; only the metadata of Secrets with the managed label is asked for",
    ),
    Rule(
        "",
        "secrets",
        ("get",),
        Scope.WATCHED,
        "read the credentials that a store refers to, and a target that somebody else wrote before it is changed",
    ),
    Rule("", "secrets", ("create", "update", "delete"), Scope.WATCHED, "keep the target Secrets true"),
    Rule("", "configmaps", ("get",), Scope.WATCHED, "read the certificate authorities that a store refers to"),
    Rule(
        "",
        "serviceaccounts/token",
        ("create",),
        Scope.WATCHED,
        "log in to a backend as the workload that a store or an ExternalSecret names; lives ten minutes",
    ),
    Rule(
        "",
        "namespaces",
        ("list", "watch"),
        Scope.CLUSTER,
        "know the labels that the conditions of a ClusterSecretStore select by; only metadata is asked for",
    ),
    Rule("apps", "deployments", ("get", "list", "patch"), Scope.WATCHED, "find consumers of a Secret, restart them"),
    Rule("apps", "statefulsets", ("get", "list", "patch"), Scope.WATCHED, "find consumers of a Secret, restart them"),
    Rule("apps", "daemonsets", ("get", "list", "patch"), Scope.WATCHED, "find consumers of a Secret, restart them"),
    Rule("", "events", ("create", "patch"), Scope.WATCHED, "say what happened, and count what happens again"),
    Rule(
        "",
        "secrets",
        ("create", "delete", "get", "list", "update"),
        Scope.OWN,
        "keep the lease records, and the key by which fingerprints are made",
    ),
    Rule(
        "",
        "serviceaccounts/token",
        ("create",),
        Scope.OWN,
        "log in to a backend as the operator itself; for its own account only",
        own_account=True,
    ),
)


def policy_rules(scopes: Iterable[Scope], *, account: str) -> list[dict[str, Any]]:
    """Return the rules of some scopes as a Role writes them: one entry per group and set of verbs, sorted.

    ``account`` is the name of the operator's ServiceAccount.
    """
    wanted = set(scopes)
    verbs: dict[tuple[str, str, bool], set[str]] = {}
    for rule in RULES:
        if rule.scope in wanted:
            verbs.setdefault((rule.group, rule.resource, rule.own_account), set()).update(rule.verbs)
    merged: dict[tuple[str, tuple[str, ...], bool], list[str]] = {}
    for (group, resource, own), allowed in verbs.items():
        merged.setdefault((group, tuple(sorted(allowed)), own), []).append(resource)
    return [
        {
            "apiGroups": [group],
            "resources": sorted(resources),
            **({"resourceNames": [account]} if own else {}),
            "verbs": list(allowed),
        }
        for (group, allowed, own), resources in sorted(merged.items())
    ]


def manifests(namespace: str, service_account: str, scoped: str | None) -> list[dict[str, Any]]:
    """Return the Kubernetes objects that give an account of ``namespace`` what the operator needs, in order.

    ``scoped`` names the one namespace that a namespaced installation watches; None gives cluster-wide rights. The
    namespaces must exist; the ServiceAccount is the first of the objects.
    """
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(service_account, namespace)}
    subject = {"kind": "ServiceAccount", "name": service_account, "namespace": namespace}
    scopes = (Scope.WATCHED, Scope.CLUSTER) if scoped is None else (Scope.WATCHED,)
    kind = "ClusterRole" if scoped is None else "Role"
    watched = _pair(kind, NAME, scoped or "", policy_rules(scopes, account=service_account), subject)
    own = _pair("Role", f"{NAME}-own", namespace, policy_rules((Scope.OWN,), account=service_account), subject)
    return [account, *watched, *own]


def _pair(
    kind: str, name: str, namespace: str, rules: list[dict[str, Any]], subject: dict[str, str]
) -> list[dict[str, Any]]:
    """Return a role and its binding."""
    version = f"{API_GROUP}/v1"
    return [
        {"apiVersion": version, "kind": kind, "metadata": _metadata(name, namespace), "rules": rules},
        {
            "apiVersion": version,
            "kind": f"{kind}Binding",
            "metadata": _metadata(name, namespace),
            "roleRef": {"apiGroup": API_GROUP, "kind": kind, "name": name},
            "subjects": [subject],
        },
    ]


def _metadata(name: str, namespace: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": NAME}
    return {"name": name, "labels": labels, **({"namespace": namespace} if namespace else {})}
