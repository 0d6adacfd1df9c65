"""A KV mount of one's own in a shared Vault, with a policy and logins that reach this mount and no other."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from testbed.vault import Vault


@dataclass(frozen=True, slots=True)
class Mount:
    """A KV version 2 mount at `path`, and the ACL policy `policy` that may read it."""

    vault: Vault
    path: str

    @classmethod
    def create(cls, vault: Vault) -> Self:
        """Make a new mount under a new name, and its policy."""
        mount = cls(vault, f"kv-{secrets.token_hex(4)}")
        vault.enable("secret", "kv", at=mount.path, version=2)
        vault.write_policy(mount.policy, f'path "{mount.path}/*" {{ capabilities = ["read", "list"] }}')
        return mount

    def remove(self) -> None:
        """Remove the mount with all it holds, and its policy."""
        self.vault.disable("secret", at=self.path)
        self.vault.api("DELETE", f"sys/policies/acl/{self.policy}")

    @property
    def policy(self) -> str:
        """The name of the policy that may read the mount."""
        return f"{self.path}-reader"

    def put(self, name: str, data: Mapping[str, object]) -> int:
        """Write a secret and return its new version."""
        return int(self.vault.api("POST", f"{self.path}/data/{name}", {"data": dict(data)})["data"]["version"])

    def get(self, name: str) -> Any:
        """Return the data of a secret's latest version. Raises BedError when there is none."""
        return self.vault.api("GET", f"{self.path}/data/{name}")["data"]["data"]

    def delete(self, name: str) -> None:
        """Delete the latest version (it can be undeleted; a read is answered with 404)."""
        self.vault.api("DELETE", f"{self.path}/data/{name}")

    def destroy(self, name: str) -> None:
        """Remove a secret with all its versions."""
        self.vault.api("DELETE", f"{self.path}/metadata/{name}")

    def kubernetes_role(
        self, *, namespace: str, accounts: Sequence[str] = ("*",), policies: Sequence[str] = (), **more: object
    ) -> str:
        """Let ServiceAccounts of a namespace log in and read this mount; return the role's name.

        The role is named after the mount and the namespace; `policies` are added to the mount's own, `more` are
        further fields of the role (audience, token_ttl, ...).
        """
        role = f"{self.path}-{namespace}"
        self.vault.kubernetes_role(
            role,
            accounts=accounts,
            namespaces=[namespace],
            policies=[self.policy, *policies],
            mount="kubernetes",
            **more,
        )
        return role
