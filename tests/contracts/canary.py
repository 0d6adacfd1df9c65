"""A value that may be in a Secret and nowhere else: every text that a contract sees is searched for it."""

from __future__ import annotations

import traceback

CANARY = "canary"
"""Part of every value, token, accessor and lease id in the worlds."""


def assert_clean(*things: object, secrets: tuple[str, ...] = (CANARY,)) -> None:
    """Fail where a secret shows in the text of any thing, an exception's traceback and causes included."""
    for thing in things:
        texts = [str(thing), repr(thing), f"{thing}"]
        if isinstance(thing, BaseException):
            texts += traceback.format_exception(thing)
            texts += [repr(vars(thing))]
        for text in texts:
            for secret in secrets:
                assert secret not in text, f"a secret shows in {type(thing).__name__}"
