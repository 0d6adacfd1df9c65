import pytest

from leasehold.domain.errors import Misconfigured
from leasehold.domain.values import SecretBytes
from leasehold.template import plain
from tests.worlds.objects import external_secret, values

VALUES = values(user="app", password="p w")
CANARY = "c4n4ry"


def templated(**template):
    return external_secret(target={"template": template})


def rendered(text):
    return plain.render(templated(data={"k": text}), VALUES).data["k"].reveal().decode()


def test_without_a_template_values_and_metadata_of_the_object_are_copied():
    metadata = {"labels": {"a": "1"}, "annotations": {"b": "2"}}
    shape = plain.render(external_secret(metadata=metadata), VALUES)
    assert (shape.data, shape.labels, shape.annotations, shape.type) == (VALUES, {"a": "1"}, {"b": "2"}, "")


def test_with_a_template_only_its_own_metadata_counts():
    secret = external_secret(
        metadata={"labels": {"a": "1"}},
        target={"template": {"type": "kubernetes.io/basic-auth", "metadata": {"finalizers": ["x/y"]}}},
    )
    shape = plain.render(secret, VALUES)
    assert (shape.data, shape.labels, shape.type, shape.finalizers) == (
        VALUES,
        {},
        "kubernetes.io/basic-auth",
        ("x/y",),
    )


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("literal }} text", "literal }} text"),
        ("", ""),
        ("{{ .user }}", "app"),
        ("{{.user}}:{{  .password  }}", "app:p w"),
        ("a  {{- .user }}", "aapp"),
        ("{{ .user -}}  \n b", "appb"),
        ("a {{- .user -}} b", "aappb"),
        ("{{ .user -}} \n {{- .password }}", "appp w"),
        ("ü{{ .user }}", "üapp"),
    ],
)
def test_plain_references(text, result):
    assert rendered(text) == result


def test_values_need_not_be_text():
    shape = plain.render(templated(data={"k": "{{ .raw }}"}), {"raw": SecretBytes(b"\xff\x00")})
    assert shape.data["k"].reveal() == b"\xff\x00"


def test_white_space_of_a_value_is_not_trimmed():
    shape = plain.render(templated(data={"k": "a {{- .v -}} b"}), values(v=" x "))
    assert shape.data["k"] == SecretBytes("a x b")


@pytest.mark.parametrize(
    ("policy", "data"),
    [("Replace", values(k="app")), ("Merge", {**VALUES, **values(k="app")})],
)
def test_templated_keys_replace_or_join_the_values(policy, data):
    assert plain.render(templated(data={"k": "{{ .user }}"}, mergePolicy=policy), VALUES).data == data


def test_metadata_is_templated():
    secret = templated(metadata={"labels": {"l": "{{ .user }}"}, "annotations": {"a": "x-{{ .user }}"}})
    shape = plain.render(secret, VALUES)
    assert (shape.labels, shape.annotations) == ({"l": "app"}, {"a": "x-app"})


BEYOND = [
    "{{ .user | upper }}",
    "{{ if .user }}x{{ end }}",
    '{{ index . "user" }}',
    "{{/* comment */}}",
    "{{ .a.b }}",
    "{{-.user}}",
    "{{ .user",
    "{{ .user }} {{ toJson . }}",
]


@pytest.mark.parametrize("text", BEYOND)
@pytest.mark.parametrize("place", ["data", "labels", "annotations"])
def test_more_than_plain_references_is_refused_before_there_are_values(text, place):
    template = {"data": {"k": text}} if place == "data" else {"metadata": {place: {"k": text}}}
    with pytest.raises(Misconfigured, match="more than plain"):
        plain.check(templated(**template))
    with pytest.raises(Misconfigured, match="more than plain"):
        plain.render(templated(**template), VALUES)


def test_templates_kept_elsewhere_are_refused():
    secret = templated(templateFrom=[{"literal": "x"}])
    for attempt in (lambda: plain.check(secret), lambda: plain.render(secret, VALUES)):
        with pytest.raises(Misconfigured, match="templateFrom"):
            attempt()


@pytest.mark.parametrize("secret", [external_secret(), templated(data={"k": "{{ .anything }} x"})])
def test_what_can_be_rendered_passes_the_check(secret):
    plain.check(secret)


def test_a_key_that_was_not_fetched_is_named_and_no_value_is():
    with pytest.raises(Misconfigured, match="names nope, which was not fetched") as refusal:
        plain.render(templated(data={"k": "{{ .user }}{{ .nope }}"}), values(user=CANARY))
    assert CANARY not in str(refusal.value)
    assert refusal.value.path == "spec.target.template.data.k"


@pytest.mark.parametrize(
    ("template", "result"),
    [
        (None, False),
        ({"data": {"k": "{{ .user }}"}}, False),
        ({"metadata": {"labels": {"a": "b"}}}, False),
        ({"metadata": {"annotations": {"a": "{{ .user }}"}}}, True),
        ({"metadata": {"labels": {"a": "{{ .user }}"}}}, True),
    ],
)
def test_metadata_may_vary_with_the_values(template, result):
    secret = external_secret(target={"template": template} if template else {})
    assert plain.varies(secret) is result
