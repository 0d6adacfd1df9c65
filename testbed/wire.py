"""A small JSON client for the servers under test. Synchronous and plain: what is tested must not test itself."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from testbed.errors import BedError

TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: the HTTP status and the JSON body (empty dict when there is none)."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class Wire:
    """Requests to one server: its address, the CA that it must present (PEM), and headers such as the token."""

    url: str
    ca_pem: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: object = None, *, timeout: float = TIMEOUT) -> Answer:
        """Send a request and return the answer, whatever its status. Raises OSError when there is no answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **self.headers}
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        context = ssl.create_default_context(cadata=self.ca_pem) if self.ca_pem else None
        # No proxy, whatever the environment says: the servers are on loopback.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(request, timeout=timeout) as response:
                return Answer(response.status, _parse(response.read()))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _parse(error.read()))

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Send a request and return the JSON body. Raises BedError unless the status is 2xx."""
        answer = self.ask(method, path, body)
        if answer.status >= 300:
            raise BedError(f"{method} {self.url}{path} was answered with {answer.status}: {answer.body}")
        return answer.body

    def is_up(self, path: str, *, statuses: frozenset[int] = frozenset({200})) -> bool:
        """Whether the server answers a GET with one of these statuses, within three seconds."""
        try:
            return self.ask("GET", path, timeout=3.0).status in statuses
        except OSError:
            return False


def _parse(text: bytes) -> Any:
    if not text:
        return {}
    try:
        return json.loads(text)
    except ValueError:
        return {"text": text.decode(errors="replace")}
