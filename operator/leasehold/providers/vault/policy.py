"""The least that Vault must allow: HCL text for the operator's own role and for tenants' roles. Pure.

What each line is for was tried on real servers (`docs/explanation/leases.md`).
"""

from __future__ import annotations

from collections.abc import Iterable

_KEEPING = (
    ("auth/token/renew-accessor", "update", "keep owners alive, also those minted before a restart"),
    ("auth/token/lookup-accessor", "update", "see what is left of an owner"),
    ("auth/token/revoke-accessor", "update", "end leases: on deletion, after a rotation, after a lost mint"),
)
_WITHOUT_DEFAULT = (
    ("sys/leases/renew", "update", "renew leases, and shorten replaced ones to their grace"),
    ("sys/leases/lookup", "update", "look before replacing"),
    ("auth/token/lookup-self", "read", "check the own login"),
    ("auth/token/renew-self", "update", "keep the own login alive"),
    ("auth/token/revoke-self", "update", "log out"),
)
_OPTIONAL = (("sys/leases/revoke", "update", "end leases of batch and stored tokens at once"),)


def operator_policy() -> str:
    """Return the policy of the operator's role: it keeps and ends leases and reads no secret.

    Complete without Vault's ``default`` policy, so the role may set token_no_default_policy.
    """
    return _render(
        "Policy of Leasehold's own role: keeps and ends leases, reads no secret.",
        (*_KEEPING, *_WITHOUT_DEFAULT, *_OPTIONAL),
    )


def tenant_policy(mints: Iterable[str] = (), reads: Iterable[str] = ()) -> str:
    """Return the policy of a tenant's role: API paths that it mints from and that it reads.

    An owner token needs nothing else: write the role with token_type=service, token_period=24h and
    token_no_default_policy=true.
    """
    minted = tuple((path, "read", "mint") for path in mints)
    read = tuple((path, "read", "read") for path in reads)
    looks = (
        ("auth/token/lookup-self", "read", "check the login"),
        ("auth/token/renew-self", "update", "keep the login alive"),
        ("auth/token/revoke-self", "update", "log out"),
    )
    return _render("Policy of a tenant's role.", (*minted, *read, *(looks if read else ())))


def _render(title: str, lines: tuple[tuple[str, str, str], ...]) -> str:
    width = max((len(path) for path, _, _ in lines), default=0) + 2
    body = "".join(
        f'path {quoted:<{width}} {{ capabilities = ["{capability}"] }}  # {purpose}\n'
        for path, capability, purpose in lines
        for quoted in (f'"{path}"',)
    )
    return f"# {title}\n{body}"
