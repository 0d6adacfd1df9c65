"""values.yaml as data: comments become descriptions, settings write their own."""

import pytest

from leasehold.settings import Setting
from tools import valuesfile

TEXT = """\
# About the file.

## First

# One.
one: 1
group:
  # Two lines
  # of text.
  # schema: {enum: [a, b]}
  two: a
  # A mapping that is one value.
  # schema: {type: object}
  three:
    x: 1
## Second
# Four.
four: []
"""


def setting(chart: str, *, kind: str = "duration", default: str = "5m") -> Setting:
    return Setting("name", "--flag", "ENV", chart, kind, default, "group", "What it does.")


def test_reads_paths_defaults_descriptions_and_sections() -> None:
    found = [(v.dotted, v.default, v.section, v.description) for v in valuesfile.read(TEXT)]
    assert found == [
        ("one", 1, "First", "One."),
        ("group.two", "a", "First", "Two lines of text."),
        ("group.three", {"x": 1}, "First", "A mapping that is one value."),
        ("four", [], "Second", "Four."),
    ]


def test_infers_a_schema_and_takes_what_the_comment_adds() -> None:
    schema = valuesfile.schema(valuesfile.read(TEXT), ())
    assert schema["additionalProperties"] is False
    assert schema["properties"]["one"] == {"description": "One.", "type": "integer"}
    group = schema["properties"]["group"]
    assert group["additionalProperties"] is False
    assert group["properties"]["two"]["enum"] == ["a", "b"]
    assert group["properties"]["three"] == {"description": "A mapping that is one value.", "type": "object"}


def test_a_value_without_comment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.b \(line 4\) has no comment"):
        valuesfile.read("## S\n# x\na:\n  b: 1\n")


def test_a_value_before_the_first_section_is_refused() -> None:
    with pytest.raises(ValueError, match="before the first section"):
        valuesfile.read("# x\na: 1\n")


def test_a_default_without_type_is_refused() -> None:
    with pytest.raises(ValueError, match="NoneType needs a schema"):
        valuesfile.read("## S\n# x\na: null\n")


def test_settings_write_comment_and_default() -> None:
    text = valuesfile.settle(TEXT, [setting("group.two"), setting("one", kind="count", default="7")])
    assert "  # What it does.\n  two: 5m\n" in text
    assert "# What it does.\none: 7\n" in text
    assert "# A mapping that is one value." in text
    assert valuesfile.settle(text, [setting("group.two"), setting("one", kind="count", default="7")]) == text


def test_a_setting_without_a_value_is_an_error() -> None:
    with pytest.raises(ValueError, match="has no nowhere for --flag"):
        valuesfile.settle(TEXT, [setting("nowhere")])


@pytest.mark.parametrize(
    ("kind", "default", "wanted"),
    [("bool", "true", True), ("bool", "false", False), ("count", "3", 3), ("text", "", ""), ("address", ":1", ":1")],
)
def test_defaults_have_the_type_of_the_chart(kind: str, default: str, wanted: object) -> None:
    assert valuesfile.default(setting("one", kind=kind, default=default)) == wanted


def test_a_text_that_looks_like_something_else_is_quoted() -> None:
    assert "one: 'true'" in valuesfile.settle(TEXT, [setting("one", kind="text", default="true")])
    assert 'one: ""' in valuesfile.settle(TEXT, [setting("one", kind="text", default="")])
