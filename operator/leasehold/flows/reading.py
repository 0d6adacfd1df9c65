"""Identical reads shared: one request feeds every object that asks for the same document within a short window.

Never shared across identities or versions of a store; errors are handed to those who wait for that very read and
never kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass

from leasehold.domain.errors import Bug, DomainError, Unavailable
from leasehold.domain.ports import Document, Reader, Remote

WINDOW = 5.0
"""Seconds for which a document may serve others that did not ask for a fresh one."""
_SWEEP_EVERY = 256

Found = Document | DomainError


@dataclass(slots=True)
class _Flight:
    answer: asyncio.Future[Found]
    started: float


class SharedReads:
    """Reads in flight and just landed, by scope (store, generation, identity) and remote."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._flights: dict[tuple[Hashable, Remote], _Flight] = {}
        self._since_sweep = 0

    async def read(
        self, reader: Reader, scope: Hashable, remotes: Collection[Remote], *, max_age: float, now: float
    ) -> Mapping[Remote, Found]:
        """Return the document or error of each remote; what is younger than ``max_age`` seconds is not asked again.

        ``now`` is monotonic time. With ``max_age`` 0 only a read that is still in flight is joined.
        """
        self._sweep(now)
        flights: dict[Remote, _Flight] = {}
        mine: list[Remote] = []
        for remote in dict.fromkeys(remotes):
            flight = self._flights.get((scope, remote))
            if flight is None or (flight.answer.done() and now - flight.started >= max_age):
                flight = _Flight(asyncio.get_running_loop().create_future(), now)
                self._flights[scope, remote] = flight
                mine.append(remote)
            flights[remote] = flight
        if mine:
            await self._fly(reader, scope, {remote: flights[remote] for remote in mine})
        return {remote: await _landed(flight.answer) for remote, flight in flights.items()}

    async def _fly(self, reader: Reader, scope: Hashable, flights: Mapping[Remote, _Flight]) -> None:
        answers: Mapping[Remote, Found] = {}
        fallback: DomainError = Unavailable("the read was given up", remedy="it is tried again")
        try:
            answers = await reader.read(flights)
            fallback = Bug("the provider gave no answer for this remote")
        except DomainError as error:
            fallback = error
        finally:
            for remote, flight in flights.items():
                answer = answers.get(remote, fallback)
                if not flight.answer.done():
                    flight.answer.set_result(answer)
                if isinstance(answer, DomainError) and self._flights.get((scope, remote)) is flight:
                    del self._flights[scope, remote]

    def _sweep(self, now: float) -> None:
        self._since_sweep += 1
        if self._since_sweep < _SWEEP_EVERY:
            return
        self._since_sweep = 0
        self._flights = {
            key: flight
            for key, flight in self._flights.items()
            if not flight.answer.done() or now - flight.started < WINDOW
        }


async def _landed(answer: asyncio.Future[Found]) -> Found:
    """Wait for an answer without ending it for the others who wait: one who is cancelled leaves alone."""
    return answer.result() if answer.done() else await asyncio.shield(answer)
