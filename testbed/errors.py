"""What can go wrong in the test bed. One class: every failure is told to a person, none is handled by code."""


class BedError(Exception):
    """The test bed cannot go on. The message names the thing, the place, and what to do about it."""

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        super().__init__(f"{problem}\n  remedy: {remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy
