from __future__ import annotations

import re

from leasehold.providers.vault import policy


def paths(text: str) -> dict[str, str]:
    return dict(re.findall(r'^path "(\S+)"\s+\{ capabilities = \["(\w+)"\] \}', text, re.MULTILINE))


def test_the_operator_may_keep_and_end_leases_and_nothing_else() -> None:
    assert paths(policy.operator_policy()) == {
        "auth/token/renew-accessor": "update",
        "auth/token/lookup-accessor": "update",
        "auth/token/revoke-accessor": "update",
        "sys/leases/renew": "update",
        "sys/leases/lookup": "update",
        "sys/leases/revoke": "update",
        "auth/token/lookup-self": "read",
        "auth/token/renew-self": "update",
        "auth/token/revoke-self": "update",
    }


def test_a_tenant_that_mints_needs_its_path_only() -> None:
    assert paths(policy.tenant_policy(mints=["database/creds/app"])) == {"database/creds/app": "read"}


def test_a_tenant_that_reads_also_keeps_its_login() -> None:
    assert set(paths(policy.tenant_policy(reads=["secret/data/app"]))) == {
        "secret/data/app",
        "auth/token/lookup-self",
        "auth/token/renew-self",
        "auth/token/revoke-self",
    }


def test_each_line_says_what_it_is_for() -> None:
    for line in policy.operator_policy().splitlines()[1:]:
        assert re.search(r"\}  # \w+", line)
