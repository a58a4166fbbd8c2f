"""docs/reliability.md names tests that exist, sentences that the product says, links that lead."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

from dpp_feedback_tests.pages import (
    ROOT,
    TESTS,
    assert_leads_somewhere,
    assert_tests_exist,
    links_of,
    rows_of,
    shown_by,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PRODUCT, RELIABILITY = ROOT / "dpp_feedback", ROOT / "docs" / "reliability.md"
PAGE = text_of(RELIABILITY)
COMMANDS = ("make ", "dpp-feedback ", "apt-get ")

_ROWS = rows_of(PAGE)
_SHOWN = shown_by(PAGE)
_SPANS = sorted(set(re.findall(r"`([^`]+)`", PAGE)))
_MESSAGES = [span for span in _SPANS if " " in span and not span.startswith(COMMANDS)]
_PATHS = [span for span in _SPANS if "/" in span and " " not in span]
_NAMES = [
    span
    for span in _SPANS
    if " " not in span and span not in _PATHS and not span.startswith("test_")
]


@cache
def _said() -> str:
    """All strings of the product but docstrings, one a line; NUL where something is filled in."""
    return "\n".join(
        " ".join(text.split())
        for path in sorted(PRODUCT.rglob("*.py"))
        for text in _strings(ast.parse(path.read_text()))
    )


def _strings(module: ast.Module) -> Iterator[str]:
    docstrings = {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)}
    for node in ast.walk(module):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values
            )
        elif isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield node.value if isinstance(node.value, str) else ""


@cache
def _code() -> str:
    return "\n".join(path.read_text() for path in PRODUCT.rglob("*.py"))


def _is_said(message: str) -> bool:
    """Whether one string of the product holds it; three dots stand for what varies."""
    return bool(re.search(".*".join(map(re.escape, message.split("..."))), _said()))


def test_every_row_is_shown_by_a_test() -> None:
    shown = [row for rows, _ in _SHOWN for row in rows.split(", ")]
    assert shown == _ROWS
    assert len(_ROWS) > 50


@pytest.mark.parametrize("shown", [shown for _, shown in _SHOWN], ids=[rows for rows, _ in _SHOWN])
def test_what_shows_a_row_exists_in_the_file_that_is_named(shown: str) -> None:
    assert_tests_exist(shown)


def test_every_file_of_faults_is_named() -> None:
    files = {f"faults/{path.name}" for path in (TESTS / "faults").glob("test_*.py")}
    assert (
        files - {file for _, shown in _SHOWN for file in re.findall(r"`([^`]+)`", shown)} == set()
    )


@pytest.mark.parametrize("message", _MESSAGES)
def test_every_sentence_is_one_that_the_product_says(message: str) -> None:
    assert _is_said(message)


def test_a_sentence_that_the_product_does_not_say_is_seen() -> None:
    assert _is_said("None of ... messages could be acknowledged")
    assert not _is_said("None of 5 messages could be acknowledged")
    assert not _is_said("Some of ... messages could be acknowledged")


@pytest.mark.parametrize("name", _NAMES)
def test_every_name_is_one_of_the_product(name: str) -> None:
    assert re.search(rf"\b{re.escape(name)}\b", _code())


@pytest.mark.parametrize("path", _PATHS)
def test_every_path_is_in_the_repository(path: str) -> None:
    made = ROOT / path  # or, as a result is, made in a folder that is there
    assert made.exists() or (TESTS / path).exists() or (made.suffix and made.parent.is_dir())


@pytest.mark.parametrize("link", links_of(PAGE))
def test_every_link_leads_somewhere(link: str) -> None:
    assert_leads_somewhere(link, RELIABILITY)
