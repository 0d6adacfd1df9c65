"""Clients of the database that must never notice a rotation: they log in 20 times a second, all the time.

Half of them read the Secret at each login, as a program does that watches its mounted files. The other half keep what
the Secret held when their pod started, as a program does that reads its environment once; they live and die with the
pods of the Deployment.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from e2e.stage import Stage

PACE = 0.05
"""Seconds between two logins: 20 a second."""


@dataclass(slots=True)
class Tally:
    """What the clients have counted."""

    logins: int = 0
    failures: list[str] = field(default_factory=list)
    users: set[str] = field(default_factory=set)
    started: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        """Logins per second."""
        return self.logins / max(time.monotonic() - self.started, 0.001)


class Clients:
    """Log in until stopped; ``tally`` may be read at any time."""

    def __init__(self, stage: Stage, app: str, secret: str) -> None:
        """Take the stage, the Deployment whose pods they are, and the Secret that they use."""
        self._stage, self._app, self._secret = stage, app, secret
        self.tally = Tally()
        self._stop = threading.Event()
        self._pods: dict[str, dict[str, str]] = {}
        self._files: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, name="clients", daemon=True)
        self._watch = threading.Thread(target=self._follow_pods, name="pods", daemon=True)

    def start(self) -> None:
        """Start."""
        self._watch.start()
        self._thread.start()

    def stop(self) -> Tally:
        """Stop and return what was counted."""
        self._stop.set()
        self._thread.join()
        self._watch.join()
        return self.tally

    def _follow_pods(self) -> None:
        """Give each new pod the credential that the Secret holds at its start; forget pods that end."""
        while not self._stop.wait(0.2):
            names = {pod["metadata"]["name"] for pod in self._stage.running_pods(self._app)}
            fresh = names - self._pods.keys()
            data = self._stage.secret(self._secret) if fresh else None
            kept = {name: held for name, held in self._pods.items() if name in names}
            self._pods = kept | (dict.fromkeys(fresh, data) if data else {})

    def _run(self) -> None:
        turn = 0
        due = time.monotonic()
        while not self._stop.is_set():
            turn += 1
            pods = list(self._pods.items())
            if turn % 2 and pods:
                self._log_in(*pods[turn // 2 % len(pods)])
            else:
                # A Secret that is gone leaves the files of a mounted volume as they are.
                self._files = self._stage.secret(self._secret) or self._files
                self._log_in("a reader of the Secret", self._files)
            due = max(due + PACE, time.monotonic() - 1.0)
            self._stop.wait(max(due - time.monotonic(), 0.0))

    def _log_in(self, who: str, held: dict[str, str]) -> None:
        user = held.get("username", "")
        try:
            self._stage.log_in(user, held.get("password", ""))
        except psycopg.Error as error:
            if who != "a reader of the Secret" and who not in self._pods:
                return  # its pod has ended meanwhile: nobody was there to log in
            self.tally.failures.append(f"{who} as {user or 'nobody'}: {type(error).__name__}")
        else:
            self.tally.users.add(user)
        self.tally.logins += 1
