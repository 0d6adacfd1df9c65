"""The fake provider: values written in the store itself, for tests and demonstrations."""

from pydantic import Field

from leasehold.api.meta import Model, Number


class FakeData(Model):
    """One value."""

    key: str = Field(description="Key of the value.")
    value: str = Field(repr=False, description="The value.")
    version: str | None = Field(default=None, description="Version of the value; must be asked for exactly.")


class FakeProvider(Model):
    """Values written in the store itself; not for real secrets."""

    data: tuple[FakeData, ...] = Field(description="The values.")
    validation_result: Number | None = Field(
        default=None, description="What a check of the store gives: 0 ready, 1 unknown, 2 error; ready if absent."
    )
