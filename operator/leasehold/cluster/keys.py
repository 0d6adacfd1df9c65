"""The key of all fingerprints: 32 random bytes in a Secret of the operator's namespace, made once."""

from __future__ import annotations

import secrets

from leasehold.cluster.api import SECRETS, KubeApi, Request
from leasehold.cluster.secrets import decode, encode
from leasehold.domain.errors import Conflict, Misconfigured
from leasehold.domain.values import SecretBytes

NAME = "leasehold-keys"
FIELD = "fingerprint"
LENGTH = 32


async def fingerprint_key(api: KubeApi, namespace: str) -> SecretBytes:
    """Return the key, made first where it is not there; two operators that start at once get the same one.

    Raises:
        Misconfigured: the Secret is there without a usable key.
        DomainError: the API server refused or did not answer.
    """
    for _ in range(2):
        body = await api.get(SECRETS, namespace, NAME)
        if body is not None:
            key = decode(body.get("data")).get(FIELD)
            if key is None or key.size < LENGTH:
                raise Misconfigured(
                    f"key {FIELD} is missing or short", path=f"Secret {namespace}/{NAME}", remedy="delete the Secret"
                )
            return key
        try:
            await api.send(Request("create", SECRETS, namespace, body=_body(namespace)))
        except Conflict:
            continue
    raise Misconfigured("it cannot be made", path=f"Secret {namespace}/{NAME}", remedy="check the operator's role")


def _body(namespace: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "leasehold.dev/keys",
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": "leasehold"},
        },
        "data": encode({FIELD: SecretBytes(secrets.token_bytes(LENGTH))}),
    }
