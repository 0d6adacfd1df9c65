"""What every `Checker` tells apart."""

from __future__ import annotations

from typing import Protocol

import pytest

from leasehold.domain.errors import DomainError
from leasehold.domain.ports import Checker, Verdict
from tests.contracts.canary import assert_clean


class CheckerBench(Protocol):
    """Two stores of one backend: a good one, and one that cannot work."""

    @property
    def good(self) -> Checker:
        """The store that works."""
        ...

    @property
    def bad(self) -> Checker:
        """The store that cannot."""
        ...


class CheckerContract:
    """Subclasses give a fixture ``bench``."""

    async def test_a_good_store_is_valid_each_time(self, bench: CheckerBench) -> None:
        assert await bench.good.check() is Verdict.VALID
        assert await bench.good.check() is Verdict.VALID

    async def test_a_bad_store_says_why_and_what_helps(self, bench: CheckerBench) -> None:
        with pytest.raises(DomainError) as caught:
            await bench.bad.check()
        assert caught.value.cause
        assert caught.value.remedy
        assert_clean(caught.value)
