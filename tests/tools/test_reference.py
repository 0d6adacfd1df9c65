"""The reference pages say everything that the code has."""

import pytest

from leasehold import cli, settings
from leasehold.domain.reasons import EventReason, ReadyReason, StoreReason, Why
from leasehold.telemetry.catalogue import CATALOGUE
from tools import reference

PAGES = reference.pages()


@pytest.mark.parametrize("setting", settings.describe(), ids=lambda setting: setting.name)
def test_settings(setting: settings.Setting) -> None:
    page = PAGES["docs/reference/settings.md"]
    for word in (setting.flag, setting.env, setting.chart):
        assert f"`{word}`" in page
    assert f"{setting.flag} " in PAGES["docs/reference/cli.md"]


def test_command_line() -> None:
    page = PAGES["docs/reference/cli.md"]
    for command in cli.app.registered_commands:
        assert command.callback is not None
        assert f"## leasehold {command.name or command.callback.__name__}\n" in page
    for ignored in cli.IGNORED:
        assert f"| `{ignored.flag}` | {ignored.why} |" in page


def test_metrics() -> None:
    for spec in CATALOGUE:
        assert f"| `{spec.name}` | {spec.kind} |" in PAGES["docs/reference/metrics.md"]


@pytest.mark.parametrize(
    ("page", "kinds"), [("events.md", (EventReason, Why)), ("conditions.md", (ReadyReason, StoreReason))]
)
def test_reasons(page: str, kinds: tuple[type[Why], ...]) -> None:
    for kind in kinds:
        for reason in kind:
            assert f"| `{reason.value}` | " in PAGES[f"docs/reference/{page}"]


def test_tables_are_not_broken_by_bars() -> None:
    for line in PAGES["docs/reference/settings.md"].splitlines():
        if line.startswith("| `--"):
            assert len(line.replace("\\|", "").strip("|").split("|")) == 6


def test_every_page_says_that_it_is_generated() -> None:
    for text in PAGES.values():
        assert "do not edit" in text.splitlines()[0]
        assert text.endswith("\n")
