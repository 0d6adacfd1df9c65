"""The generated parts of the chart are on disk as they should be, and braces of a CRD stay braces."""

import pytest

from tools import chart

GENERATED = chart.generate()


@pytest.mark.parametrize("path", GENERATED)
def test_on_disk(path: str) -> None:
    found = (chart.ROOT / path).read_text(encoding="utf-8")
    assert found == GENERATED[path], "run `make generate`"


def test_no_crd_template_is_left_over() -> None:
    folder = chart.ROOT / chart.CHART / "templates" / "crds"
    assert {f"{chart.CHART}/templates/crds/{file.name}" for file in folder.iterdir()} <= set(GENERATED)


def test_braces_of_a_description_are_no_template(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "# Generated.\nkind: CustomResourceDefinition\nmetadata:\n  name: a\nspec: '{{ .value }}'\n"
    monkeypatch.setattr(chart, "render_all", lambda: {"a.yaml": text})
    rendered = chart.generate()[f"{chart.CHART}/templates/crds/a.yaml"]
    assert "spec: '{{ \"{{\" }} .value }}'" in rendered
