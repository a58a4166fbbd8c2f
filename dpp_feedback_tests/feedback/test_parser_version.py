"""The parser's version is raised with each change of what becomes of a body."""

from __future__ import annotations

import ast
from hashlib import sha256
from typing import TYPE_CHECKING

from dpp_feedback.feedback.parser import PARSER_VERSION
from dpp_feedback_tests.feedback.bodies import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

# The code of each version, docstrings and comments aside.
FINGERPRINTS = {1: "6946222e11a9d545"}
FILES = ("envelope", "events", "kinds", "parser", "values")


def fingerprint() -> str:
    digest = sha256()
    for name in FILES:
        code = (ROOT / "dpp_feedback" / "feedback" / f"{name}.py").read_text()
        for word in words(ast.parse(code)):
            digest.update(word.encode())
            digest.update(b"\0")
    return digest.hexdigest()[:16]


def words(node: ast.AST) -> Iterator[str]:
    """The tree in words that do not depend on Python's version, as `ast.dump` does."""
    yield type(node).__name__
    for name, value in ast.iter_fields(node):
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant):
                continue  # a docstring
            if isinstance(item, ast.AST):
                yield name
                yield from words(item)
            elif item is not None:
                yield f"{name}={item!r}"
    yield "end"


def test_a_changed_parser_has_a_version_of_its_own() -> None:
    assert fingerprint() == FINGERPRINTS.get(PARSER_VERSION), (
        "The parser changed. If bodies may fare otherwise now: raise PARSER_VERSION in "
        "feedback/parser.py, then write the new fingerprint, "
        f"{fingerprint()}, into FINGERPRINTS here. If they surely do not, only the fingerprint."
    )


def test_docstrings_and_comments_are_no_change_but_code_is() -> None:
    def words_of(code: str) -> list[str]:
        return list(words(ast.parse(code)))

    assert words_of('def f():\n    """Say."""\n    return 1  # so') == words_of(
        "def f():\n    return 1"
    )
    assert words_of("a = 1") != words_of("a = 2")
    assert words_of("a = f(b)") != words_of("a = f, b")


def test_each_version_has_its_fingerprint() -> None:
    assert list(FINGERPRINTS) == list(range(1, PARSER_VERSION + 1))
    assert len(set(FINGERPRINTS.values())) == len(FINGERPRINTS)
