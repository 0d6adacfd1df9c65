"""The alerting rules ask for metrics, labels and results that the operator has."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from leasehold.domain.reasons import EventReason
from leasehold.telemetry.catalogue import CATALOGUE

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "charts" / "leasehold" / "files" / "alerts.yaml"
METRICS = {spec.name: spec for spec in CATALOGUE}
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(FILE.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
]
_SELECTOR = re.compile(r"\b([a-z]+_[a-z_]+)(?:\{([^}]*)\})?")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    found = _SELECTOR.findall(rule["expr"])
    assert found
    for name, selector in found:
        labels = set(re.findall(r"(\w+)=", selector))
        assert labels <= set(METRICS[name].labels)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_texts_use_labels_of_the_metric_and_events_of_the_code(rule: dict[str, Any]) -> None:
    names = {name for name, _ in _SELECTOR.findall(rule["expr"])}
    labels = set.intersection(*(set(METRICS[name].labels) for name in names))
    texts = " ".join(rule["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", texts)) <= labels
    events = {reason.value for reason in EventReason}
    assert set(re.findall(r"\b((?:Lease|Rollout)[A-Z]\w+)", texts)) <= events


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_results_are_counted_somewhere(rule: dict[str, Any]) -> None:
    source = "\n".join(
        file.read_text(encoding="utf-8")
        for room in ("flows", "domain")
        for file in (ROOT / "operator" / "leasehold" / room).glob("*.py")
    )
    for result in re.findall(r'result="(\w+)"', rule["expr"]):
        assert f'"{result}"' in source


def test_every_rule_has_a_severity_and_two_texts() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}
