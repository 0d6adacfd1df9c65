"""Wrong values are refused before anything reaches a cluster, and the complaint names the value."""

from collections.abc import Callable
from typing import Any

import pytest

Object = dict[str, Any]
Helm = Callable[..., Any]

REFUSED: dict[str, tuple[Object, str]] = {
    "an unknown name": ({"replicas": 1}, "additional properties 'replicas' not allowed"),
    "an unknown name inside": ({"log": {"levle": "info"}}, "at '/log'"),
    "two operators": ({"replicaCount": 2}, "at '/replicaCount'"),
    "a level that is none": ({"log": {"level": "loud"}}, "at '/log/level'"),
    "a duration without unit": ({"statusFreshness": "300"}, "at '/statusFreshness'"),
    "a duration as a number": ({"statusFreshness": 300}, "at '/statusFreshness'"),
    "no workers": ({"concurrent": 0}, "at '/concurrent'"),
    "a bool as text": ({"enableFloodGate": "yes"}, "at '/enableFloodGate'"),
    "an address without port": ({"metrics": {"address": "localhost"}}, "at '/metrics/address'"),
    "a port alone": ({"metrics": {"address": 8080}}, "at '/metrics/address'"),
    "a short life after SIGTERM": ({"terminationGracePeriodSeconds": 30}, "at '/terminationGracePeriodSeconds'"),
    "an unknown scope": ({"rbac": {"scope": "galaxy"}}, "at '/rbac/scope'"),
    "one namespace without its name": ({"rbac": {"scope": "namespaced"}}, "at '/scopedNamespace'"),
    "labels that are no text": ({"podLabels": {"a": 1}}, "at '/podLabels/a'"),
    "a digest that is none": ({"image": {"digest": "latest"}}, "at '/image/digest'"),
    "a pull policy that is none": ({"image": {"pullPolicy": "Sometimes"}}, "at '/image/pullPolicy'"),
    "arguments as one text": ({"extraArgs": "--loglevel=debug"}, "at '/extraArgs'"),
    "a monitor without service": (
        {"serviceMonitor": {"enabled": True}, "metrics": {"service": {"enabled": False}}},
        "a ServiceMonitor needs a Service",
    ),
    "a monitor without metrics": ({"podMonitor": {"enabled": True}, "metrics": {"address": "0"}}, "needs metrics"),
}
TAKEN: dict[str, Object] = {
    "values of a parent chart": {"global": {"anything": 1}},
    "no metrics": {"metrics": {"address": 0}},
    "no metrics by empty text": {"metrics": {"address": ""}},
    "an IPv6 address": {"metrics": {"address": "[::1]:8080"}},
    "freshness at every refresh": {"statusFreshness": "0"},
    "a pause": {"replicaCount": 0},
    "a share": {"podDisruptionBudget": {"enabled": True, "maxUnavailable": "50%"}},
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(helm: Helm, name: str) -> None:
    values, complaint = REFUSED[name]
    done = helm(values)
    assert done.returncode
    assert complaint in done.stderr


@pytest.mark.parametrize("name", TAKEN)
def test_takes(helm: Helm, name: str) -> None:
    done = helm(TAKEN[name])
    assert not done.returncode, done.stderr
