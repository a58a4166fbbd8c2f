"""What tests ask of a page of documentation: the tests that it names, and where its links lead."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "dpp_feedback_tests"


def text_of(page: Path) -> str:
    """Read a page without its blocks of code."""
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


def rows_of(text: str) -> list[str]:
    """The rows of its tables that have a name such as `P1`, in order."""
    return re.findall(r"^\| ([A-Z]\d+) \|", text, re.MULTILINE)


def shown_by(text: str) -> list[tuple[str, str]]:
    """The lines `- P1, P2: tests`, as names and tests."""
    return re.findall(r"^- ([A-Z]\d+(?:, [A-Z]\d+)*): (.*)$", text, re.MULTILINE)


def links_of(text: str) -> list[str]:
    """What is linked, each once; not what is on other servers."""
    return sorted(set(re.findall(r"\]\(((?!https:)[^)]+)\)", text)))


def assert_tests_exist(shown: str) -> None:
    """Make sure that each test named is in the file named before it, and that one is named."""
    found: list[str] = []
    path = TESTS
    for span in re.findall(r"`([^`]+)`", shown):
        if span.endswith(".py"):
            path = TESTS / span
        else:
            assert span in _tests(path), span
            found.append(span)
    assert found


def assert_leads_somewhere(link: str, page: Path) -> None:
    """Make sure that a link's file is there, and has the heading."""
    file, _, anchor = link.partition("#")
    target = page.parent / file if file else page
    assert target.exists()
    assert not anchor or anchor in _anchors(target)


@cache
def _tests(path: Path) -> frozenset[str]:
    return frozenset(
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
