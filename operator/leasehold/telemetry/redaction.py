"""What may be said aloud: makes any value plain, and blanks what looks like a credential.

The last net, not the first: whoever logs passes names and numbers only, and secret values are a type that prints
nothing. This catches the rest: a field with a telling name, a token in another library's message, an exception whose
text quotes a request. Pure.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from enum import Enum
from typing import Any

from leasehold.domain.errors import DomainError

HIDDEN = "[redacted]"
LONGEST = 1000
"""Most characters of one text; a longer one is cut."""
_OWN = "leasehold"
_CHAIN = 4
_TELLING = re.compile(
    r"(?i)(?:^|[_.-])(?:tokens?|password|passwd|pwd|passphrase|secrets?|credentials?|authorization|cookie|jwt|accessor"
    r"|(?:lease|secret)[_-]?id|(?:private|api|access)[_-]?key|values?|data|body|payload)$"
)
"""Names of fields whose content is not shown, whatever it is. ``secret_name`` and ``token_ttl`` are shown."""
_CREDENTIAL = re.compile(
    r"hv[sbr]\.[A-Za-z0-9_-]{8,}"  # a Vault token
    r"|\b[sbr]\.[A-Za-z0-9]{20,}"  # a Vault token before 1.10
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*"  # a JWT
    r"|(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # user and password of a URL
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)


def fields(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with every value plain (JSON types only) and telling ones blanked."""
    return {str(name): HIDDEN if _TELLING.search(str(name)) else plain(value) for name, value in raw.items()}


def plain(value: object) -> Any:
    """Return the value as JSON types. An object shows itself only where it is ours and has a text of its own."""
    match value:
        case Enum():
            return plain(value.value)
        case None | bool() | int() | float():
            return value
        case str():
            return text(value)
        case BaseException():
            return exception(value)
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case Mapping():
            return fields(value)
    kind = type(value)
    if kind.__module__.startswith(_OWN) and kind.__str__ is not object.__str__:
        return text(str(value))
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(part) for part in value]
    return f"<{kind.__qualname__}>"


def text(raw: str) -> str:
    """Return the text with anything that looks like a credential blanked, and cut where it is long."""
    cut = raw if len(raw) <= LONGEST else raw[:LONGEST] + "…"
    return _CREDENTIAL.sub(HIDDEN, cut)


def exception(error: BaseException, *, depth: int = _CHAIN) -> dict[str, Any]:
    """Return type, our own frames and the chain of an exception.

    Local variables are never looked at. The message is given for our own errors only: theirs quote requests.
    """
    kind = type(error)
    told: dict[str, Any] = {"type": f"{kind.__module__}.{kind.__qualname__}"}
    if isinstance(error, DomainError):
        told["message"] = text(str(error))
    frames = [
        f"{name}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if (name := str(frame.f_globals.get("__name__", ""))).split(".")[0] == _OWN
    ]
    if frames:
        told["frames"] = frames
    if isinstance(error, BaseExceptionGroup) and depth > 1:
        told["exceptions"] = [exception(part, depth=depth - 1) for part in error.exceptions]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and depth > 1:
        told["cause"] = exception(cause, depth=depth - 1)
    return told
