"""A client of the database that never stops: it logs in with what the Secret says, as the workloads would.

A pod that has a credential in its environment keeps what the Secret held when the pod came to be, until the pod is
gone; a program that reads it from a mounted file gets the present one about a second late. The pods of the demo run
nothing (kwok), so this client logs in for each of them. It counts; it judges nothing.
"""

import base64
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from e2e.witness import Sighting, Witness
from leasehold.domain.values import SecretBytes

RATE = 20
"""Logins per second."""
FILE_LAG = 1.0
"""Seconds by which a mounted file follows its Secret."""
_LANES = 4
"""Threads that share the rate, so that one slow login holds up no other."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A user of the database and its password."""

    user: str
    password: SecretBytes


class Refused(Exception):
    """A login that failed; the text is one of ours, since PostgreSQL's may carry anything."""


def of_secret(body: Mapping[str, Any]) -> Credential:
    """Return the credential that a Secret holds under username and password."""
    data = body["data"]
    user = base64.b64decode(data["username"]).decode()
    return Credential(user, SecretBytes(base64.b64decode(data["password"])))


def log_in(port: int, credential: Credential) -> str:
    """Log in to PostgreSQL on loopback and return what it calls us. Raises Refused."""
    try:
        with psycopg.connect(
            host="127.0.0.1",
            port=port,
            dbname="postgres",
            user=credential.user,
            password=credential.password.reveal().decode(),
            connect_timeout=5,
            sslmode="disable",
            application_name="leasehold demo",
        ) as connection:
            row = connection.execute("SELECT current_user").fetchone()
    except psycopg.Error as error:
        raise Refused(_classify(str(error))) from None
    return str(row[0]) if row else ""


def _classify(text: str) -> str:
    for part, ours in (
        ("password authentication failed", "wrong user or password, or past VALID UNTIL"),
        ("does not exist", "no such user"),
        ("timeout", "no answer"),
        ("too many clients", "too many clients"),
        ("Connection refused", "nobody listens"),
    ):
        if part in text:
            return ours
    return "another error"


@dataclass(frozen=True, slots=True)
class Failure:
    """One login that failed."""

    at: float
    who: str
    user: str
    why: str

    def __str__(self) -> str:
        return f"{self.who} as {self.user}: {self.why}"


@dataclass(slots=True)
class Totals:
    """What came of all logins so far."""

    logins: int = 0
    failures: list[Failure] = field(default_factory=list)
    users: Counter[str] = field(default_factory=Counter)
    """Logins by database user."""
    holders: set[str] = field(default_factory=set)
    """Who logged in: names of pods, and `mounted file`."""
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Logins per second."""
        return self.logins / self.seconds if self.seconds else 0.0


class Client:
    """Logs in RATE times a second for every pod of a Deployment and for a mounted file, in turns."""

    def __init__(self, witness: Witness, port: int, *, secret: str, app: str) -> None:
        """Take the witness who sees Secret and pods, PostgreSQL's port, the Secret's name and the pods' label app."""
        self._witness, self._port, self._secret, self._app = witness, port, secret, app
        self._pods: dict[str, Credential] = {}
        self._file: tuple[float, Credential] | None = None
        self._totals = Totals()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._started = self._stopped = 0.0
        self._turn = 0
        self._lanes = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(_LANES)]
        witness.listen(self._hear)

    def start(self) -> None:
        """Begin, for the pods that are there and those to come."""
        for body in self._witness.present("pods"):
            self._hear("pods", Sighting(time.monotonic(), "ADDED", body))
        self._started = time.monotonic()
        for lane in self._lanes:
            lane.start()

    def stop(self) -> Totals:
        """End, and return the totals. Does nothing when it has ended."""
        self._stopping.set()
        for lane in self._lanes:
            if lane.is_alive():
                lane.join(timeout=10.0)
        self._stopped = self._stopped or time.monotonic()
        return self.totals()

    def totals(self) -> Totals:
        """Return the totals so far."""
        with self._lock:
            now = self._totals
            seconds = (self._stopped or time.monotonic()) - self._started
            return Totals(now.logins, list(now.failures), Counter(now.users), set(now.holders), seconds)

    def holding(self, user: str) -> list[str]:
        """Return the pods that still hold a user's credential."""
        with self._lock:
            return sorted(pod for pod, credential in self._pods.items() if credential.user == user)

    def _hear(self, resource: str, sighting: Sighting) -> None:
        """A pod takes what the Secret holds when the pod is first seen, and keeps it to its end."""
        metadata = sighting.body["metadata"]
        if resource != "pods" or metadata.get("labels", {}).get("app") != self._app:
            return
        present = self._witness.last("secrets", self._secret)
        with self._lock:
            if sighting.change == "DELETED":
                self._pods.pop(metadata["name"], None)
            elif metadata["name"] not in self._pods and present is not None:
                self._pods[metadata["name"]] = of_secret(present.body)

    def _run(self, lane: int) -> None:
        period = _LANES / RATE
        due = self._started + lane / RATE
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due += period
            who, credential = self._next()
            if credential is not None:
                self._try(who, credential)

    def _next(self) -> tuple[str, Credential | None]:
        now, present = time.monotonic(), self._witness.last("secrets", self._secret)
        with self._lock:
            # A Secret that is gone leaves the files of a mounted volume as they are.
            if present is not None and (self._file is None or now >= self._file[0] + FILE_LAG):
                self._file = (now, of_secret(present.body))
            file = [("mounted file", self._file[1])] if self._file else []
            holders = [*sorted(self._pods.items()), *file]
            self._turn += 1
            return holders[self._turn % len(holders)] if holders else ("", None)

    def _try(self, who: str, credential: Credential) -> None:
        failure: Failure | None = None
        try:
            if log_in(self._port, credential) != credential.user:
                failure = Failure(time.monotonic(), who, credential.user, "logged in as somebody else")
        except Refused as error:
            failure = Failure(time.monotonic(), who, credential.user, str(error))
        with self._lock:
            self._totals.logins += 1
            self._totals.users[credential.user] += 1
            self._totals.holders.add(who)
            if failure is not None:
                self._totals.failures.append(failure)
