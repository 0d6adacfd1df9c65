"""Each setting of the operator is a value of the chart: same default, same description, and it arrives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from leasehold import settings
from leasehold.settings import Setting
from tools import valuesfile

CHART = Path(__file__).resolve().parents[2] / "charts" / "leasehold"
Object = dict[str, Any]
Render = Callable[..., list[Object]]


def changed(setting: Setting) -> Any:
    """Return a value other than the default."""
    match setting.kind:
        case "bool":
            return setting.default != "true"
        case "count":
            return int(setting.default) + 1
        case "duration":
            return "1h1m1s"
        case "address":
            return "0.0.0.0:1234"
        case "text":
            return "something"
        case choices:
            return choices.split("|")[-1 if setting.default == choices.split("|")[0] else 0]


def arguments(render: Render, values: Object) -> list[str]:
    (deployment,) = (document for document in render(values) if document["kind"] == "Deployment")
    found: list[str] = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    return found


def loaded(args: list[str]) -> settings.Settings:
    """Read the arguments as the command line does: --flag=value by the name of the field."""
    assert args[0] == "run"
    pairs = (argument.removeprefix("--").split("=", 1) for argument in args[1:])
    return settings.load({"operator_namespace": "ns", **{flag.replace("-", "_"): text for flag, text in pairs}})


def test_values_have_the_defaults_and_descriptions_of_the_settings() -> None:
    values = {value.dotted: value for value in valuesfile.read((CHART / "values.yaml").read_text(encoding="utf-8"))}
    for setting in settings.describe():
        value = values[setting.chart]
        assert (value.default, value.description) == (valuesfile.default(setting), setting.description)


def test_defaults_arrive(render: Render) -> None:
    assert loaded(arguments(render, {})) == settings.load({"operator_namespace": "ns"})


def test_every_changed_value_arrives(render: Render) -> None:
    values: Object = {}
    for setting in settings.describe():
        *groups, name = setting.chart.split(".")
        place = values
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = changed(setting)
    wanted = {setting.name: str(changed(setting)).lower() for setting in settings.describe()}
    assert loaded(arguments(render, values)) == settings.load(wanted)


def test_a_namespaced_installation_does_without_cluster_stores(render: Render) -> None:
    values = {"rbac": {"scope": "namespaced"}, "scopedNamespace": "payments"}
    assert not loaded(arguments(render, values)).enable_cluster_store_reconciler


def test_the_pod_outlives_the_shutdown(render: Render) -> None:
    (deployment,) = (document for document in render() if document["kind"] == "Deployment")
    patience = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert patience > settings.load({"operator_namespace": "ns"}).shutdown_grace_period


def test_schema_describes_every_value() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text(encoding="utf-8"))
    for value in valuesfile.read((CHART / "values.yaml").read_text(encoding="utf-8")):
        place = schema
        for name in value.path:
            assert place["additionalProperties"] is False
            place = place["properties"][name]
        assert place["description"] == value.description
