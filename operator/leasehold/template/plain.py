"""The part of templating that needs no engine: no template, literal text, and plain ``{{ .key }}`` references.

Everything beyond is refused with a clear error until the Go engine is here: a template that is rendered almost right
is worse than one that is refused.
"""

from __future__ import annotations

import re

from leasehold.api.externalsecret import ExternalSecret
from leasehold.api.target import Template, TemplateMergePolicy
from leasehold.domain.desired import Shape
from leasehold.domain.errors import Misconfigured
from leasehold.domain.values import SecretBytes, SecretMap

_REFERENCE = re.compile(rb"\{\{(- )?\s*\.([A-Za-z_][A-Za-z0-9_]*)\s*( -)?\}\}")
_SPACE = b" \t\r\n"


def render(secret: ExternalSecret, values: SecretMap) -> Shape:
    """Return data and metadata of the target.

    Without a template the values are the data and the ExternalSecret's own labels and annotations are copied; with
    one, only the template's metadata is used (ESO's rule).

    Raises:
        Misconfigured: the template uses more than plain references, or names a key that was not fetched.
    """
    template = secret.spec.target.template
    if template is None:
        return Shape(data=values, labels=secret.metadata.labels, annotations=secret.metadata.annotations)
    if template.template_from:
        raise _beyond("spec.target.template.templateFrom")
    metadata = template.metadata
    return Shape(
        data=_data(template, values),
        labels=_texts("labels", metadata.labels, values) if metadata else {},
        annotations=_texts("annotations", metadata.annotations, values) if metadata else {},
        type=template.type or "",
        finalizers=metadata.finalizers if metadata else (),
    )


def check(secret: ExternalSecret) -> None:
    """Raise Misconfigured where the template is beyond us, before any value is there."""
    template = secret.spec.target.template
    if template is None:
        return
    if template.template_from:
        raise _beyond("spec.target.template.templateFrom")
    texts = dict(template.data)
    if template.metadata is not None:
        texts |= template.metadata.labels | template.metadata.annotations
    for key, text in texts.items():
        if b"{{" in _REFERENCE.sub(b"", text.encode()):
            raise _beyond(f"spec.target.template ({key})")


def varies(secret: ExternalSecret) -> bool:
    """Tell whether the metadata of the target depends on values: equal data then says nothing about it."""
    template = secret.spec.target.template
    if template is None or template.metadata is None:
        return False
    texts = (*template.metadata.labels.values(), *template.metadata.annotations.values())
    return any("{{" in text for text in texts)


def _data(template: Template, values: SecretMap) -> SecretMap:
    if not template.data:
        return values
    rendered = {
        key: SecretBytes(_text(text, values, path=f"spec.target.template.data.{key}"))
        for key, text in template.data.items()
    }
    return {**values, **rendered} if template.merge_policy is TemplateMergePolicy.MERGE else rendered


def _texts(field: str, pairs: dict[str, str], values: SecretMap) -> dict[str, str]:
    return {
        key: _text(text, values, path=f"spec.target.template.metadata.{field}.{key}").decode("utf-8", "replace")
        for key, text in pairs.items()
    }


def _text(text: str, values: SecretMap, *, path: str) -> bytes:
    """Return the text with each reference replaced; ``{{- `` and `` -}}`` eat the white space beside them."""
    raw = text.encode()
    out = bytearray()
    at = 0
    eat = False
    for match in _REFERENCE.finditer(raw):
        literal = raw[at : match.start()]
        out += _literal(literal, path=path, left=eat, right=match.group(1) is not None)
        name = match.group(2).decode()
        if name not in values:
            raise Misconfigured(
                f"the template names {name}, which was not fetched", path=path, remedy="add it to data or dataFrom"
            )
        out += values[name].reveal()
        at, eat = match.end(), match.group(3) is not None
    return bytes(out + _literal(raw[at:], path=path, left=eat, right=False))


def _literal(text: bytes, *, path: str, left: bool, right: bool) -> bytes:
    if b"{{" in text:
        raise _beyond(path)
    text = text.lstrip(_SPACE) if left else text
    return text.rstrip(_SPACE) if right else text


def _beyond(path: str) -> Misconfigured:
    return Misconfigured(
        "the template uses more than plain {{ .key }} references, which this version does not render",
        path=path,
        remedy="use plain references, or keep this object on another controller class",
    )
