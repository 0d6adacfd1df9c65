"""Who may use which store: controller classes, and the conditions of a ClusterSecretStore."""

from __future__ import annotations

import re
from collections.abc import Mapping

from leasehold.api.meta import LabelSelector
from leasehold.api.stores import SecretStoreSpec, StoreCondition
from leasehold.domain.errors import Misconfigured


def of_class(controller: str | None, ours: str) -> bool:
    """Tell whether an object with that spec.controller is ours; an empty class is anybody's."""
    return not controller or controller == ours


def allowed(spec: SecretStoreSpec, namespace: str, labels: Mapping[str, str] | None) -> bool:
    """Tell whether the namespace may use a ClusterSecretStore: no condition, or any part of any condition.

    Raises:
        Misconfigured: a regular expression cannot be read, and nothing before it allows the namespace.
    """
    return not spec.conditions or any(_meets(condition, namespace, labels or {}) for condition in spec.conditions)


def _meets(condition: StoreCondition, namespace: str, labels: Mapping[str, str]) -> bool:
    selector = condition.namespace_selector
    return (
        namespace in condition.namespaces
        or (selector is not None and selects(selector, labels))
        or any(_finds(pattern, namespace) for pattern in condition.namespace_regexes)
    )


def _finds(pattern: str, namespace: str) -> bool:
    try:
        return re.search(pattern, namespace) is not None
    except re.error:
        raise Misconfigured(
            "invalid regular expression",
            path="spec.conditions.namespaceRegexes of the store",
            remedy="write it in RE2 syntax",
        ) from None


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Tell whether the selector matches the labels (Kubernetes' rules; an empty selector matches all)."""
    if any(labels.get(name) != value for name, value in selector.match_labels.items()):
        return False
    for need in selector.match_expressions:
        present = need.key in labels
        met = {
            "In": present and labels.get(need.key) in need.values,
            "NotIn": not present or labels.get(need.key) not in need.values,
            "Exists": present,
            "DoesNotExist": not present,
        }.get(need.operator, False)
        if not met:
            return False
    return True
