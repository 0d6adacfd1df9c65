"""Messages that the page on troubleshooting quotes are messages that the code writes."""

import re
from pathlib import Path

from leasehold.domain.reasons import EventReason, Why
from leasehold.domain.report import Stage
from leasehold.flows import check
from tools import messages

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "troubleshooting.md"


def known() -> str:
    (reference,) = messages.pages().values()
    return reference.replace("&lt;", "<").replace("&gt;", ">")


def test_quoted_messages_are_written() -> None:
    """A quotation is in backticks and reads like a clause; what is filled in at run time stands as ... or a name."""
    page = PAGE.read_text(encoding="utf-8")
    quoted = re.findall(r"^\| `([^`]+)`(?:, `([^`]+)`)? \|", page, re.MULTILINE)
    section = page.split("## By symptom")[1].split("## Make it look again")[0]
    clauses = [text for pair in quoted for text in pair if text and f"| `{text}`" in section]
    assert len(clauses) > 4
    for clause in clauses:
        assert clause in known()


def test_headings_that_quote_a_message() -> None:
    page = PAGE.read_text(encoding="utf-8")
    headings = {
        "has no namespaces (Community Edition)",
        "is not trusted",
        "is not ready",
        "the operator may not",
        "not supported by this version",
    }
    for heading in headings:
        assert heading in page
        assert heading in known()


def test_steps_are_those_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    table = page.split("| Text | Step |")[1].split("\n\n")[0]
    assert set(re.findall(r"`([^`]+)`", table)) - {"spec.target.template", "spec.target.name"} == {
        *(stage.value for stage in Stage),
        check.FAILED,
    }


def test_reasons_are_those_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    words = set(re.findall(r"`(Lease[A-Za-z]+)`", page))
    assert words
    assert words <= {*(reason.value for reason in EventReason), *(why.value for why in Why)}
