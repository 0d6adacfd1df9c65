"""The whole set in one run folder, as `up` starts it: what is where, written down so that `status` can tell.

Tests and benchmarks that need one part only use `controlplane`, `vault`, `postgres` and `pods` by themselves.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from testbed import roster
from testbed.certificates import write_private
from testbed.controlplane import ControlPlane
from testbed.errors import BedError
from testbed.node import Node as RealNode
from testbed.pods import Kwok, Scheduler
from testbed.postgres import Postgres
from testbed.processes import Yard
from testbed.progress import Console
from testbed.vault import Vault

FILE = "testbed.json"
Node = Literal["kwok", "real", "none"]


@dataclass(frozen=True, slots=True)
class Addresses:
    """What a user needs to reach the running set. Holds secrets of the run: never log it."""

    kubeconfig: str
    vault_addr: str
    vault_token: str
    database_url: str

    def exports(self) -> str:
        """Return shell lines for `eval "$(python -m testbed up)"`."""
        variables = {
            "KUBECONFIG": self.kubeconfig,
            "VAULT_ADDR": self.vault_addr,
            "VAULT_TOKEN": self.vault_token,
            "DATABASE_URL": self.database_url,
        }
        return "\n".join(f"export {name}='{value}'" for name, value in variables.items())


class Bed:
    """Control plane, pods, Vault and PostgreSQL; Vault is told of both others."""

    def __init__(self, yard: Yard, *, node: Node = "kwok") -> None:
        self.yard = yard
        self.control_plane = ControlPlane(yard)
        self.postgres = Postgres(yard)
        self.vault = Vault(yard)
        self.pods: Kwok | RealNode | None = None
        if node == "kwok":
            self.pods = Kwok(yard, self.control_plane)
        elif node == "real":
            reach = (self.vault.port.number, self.postgres.port.number)
            self.pods = RealNode(yard, self.control_plane, Scheduler(yard, self.control_plane), reach=reach)

    def start(self, console: Console) -> None:
        """Start all of it and connect Vault with the control plane and PostgreSQL."""
        self.control_plane.start()
        console.say("kubernetes", f"ready at {self.control_plane.url}")
        self.postgres.start()
        console.say("postgres", f"ready at 127.0.0.1:{self.postgres.port}")
        self.vault.start()
        self.vault.configure_kubernetes_auth(self.control_plane)
        self.vault.configure_database(self.postgres)
        console.say("vault", f"ready at {self.vault.url}; auth/kubernetes and database/config/postgres configured")
        if self.pods:
            self.pods.start()
            console.say("pods", f"a {'pretended' if isinstance(self.pods, Kwok) else 'real'} node is Ready")

    @property
    def addresses(self) -> Addresses:
        """What a user needs to reach it."""
        return Addresses(
            kubeconfig=str(self.control_plane.kubeconfig()),
            vault_addr=self.vault.url,
            vault_token=self.vault.root_token,
            database_url=self.postgres.dsn(),
        )


def up(folder: Path, *, node: Node, console: Console) -> Addresses:
    """Start a set in a folder and leave it running. What an earlier run left there is removed first.

    Raises BedError when one runs there already, or when a server does not start (none is left running then).
    """
    if living := [entry.name for entry in roster.read(folder) if entry.being.alive]:
        raise BedError(
            f"a test bed runs in {folder} already ({', '.join(living)})",
            remedy="run `python -m testbed down`, or choose another folder with --dir",
        )
    clear(folder)
    yard = Yard(folder, attached=False)
    try:
        bed = Bed(yard, node=node)
        bed.start(console)
        write_private(folder / FILE, json.dumps(asdict(bed.addresses), indent=1))
    except BaseException:
        yard.end()
        raise
    yard.detach()
    return bed.addresses


def clear(folder: Path) -> None:
    """Remove what a run left in its folder. Raises BedError when the folder holds something that is not ours."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not any((folder / name).exists() for name in (FILE, roster.FILE, "logs")):
        raise BedError(f"{folder} holds files that are not a test bed's", remedy="choose another folder with --dir")
    roster.end_all(folder)
    shutil.rmtree(folder)


def read(folder: Path) -> Addresses | None:
    """Return the addresses of the set that was started in a folder, or None when there is none."""
    try:
        return Addresses(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def down(folder: Path) -> list[str]:
    """End the set of a folder, keep its logs, and return the names of the servers that ran."""
    ended = [entry.name for entry in roster.end_all(folder)]
    (folder / FILE).unlink(missing_ok=True)
    return ended
