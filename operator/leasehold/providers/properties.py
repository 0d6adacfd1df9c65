"""What every provider says of a property that is no key of the secret: pure.

Paths into a secret (gjson) come with the template engine; until then they are refused, never guessed.
"""

from __future__ import annotations

import re

from leasehold.domain.errors import DomainError, Misconfigured

_PATH = re.compile(r"[.*?|#@\\!{}\[\]()=<>%]")
"""Characters that make a property a path."""


def absent(name: str, *, path: str, kind: type[DomainError]) -> DomainError:
    """Return the error for a property that is no key; ``kind`` where it is no path either.

    ESO's providers differ: where Missing is raised a deletion policy may act, where Misconfigured it may not.
    """
    if _PATH.search(name):
        return Misconfigured(
            f"property {name} is no key of the secret, and paths into a secret are not supported by this version",
            path=path,
            remedy="name a key of the secret",
        )
    return kind(f"the secret has no property {name}", path=path, remedy="add it, or change remoteRef.property")
