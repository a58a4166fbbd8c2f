"""SECURITY.md: every threat is shown by tests that exist, every table is in the data map."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from dpp_feedback_tests.pages import (
    ROOT,
    assert_leads_somewhere,
    assert_tests_exist,
    links_of,
    rows_of,
    shown_by,
    text_of,
)

if TYPE_CHECKING:
    import psycopg

SECURITY = ROOT / "SECURITY.md"
PAGE = text_of(SECURITY)
_SHOWN = shown_by(PAGE)
_RELATIONS = """
SELECT format('%s.%s', relnamespace::regnamespace, relname) FROM pg_catalog.pg_class
WHERE relnamespace IN ('public'::regnamespace, 'dpp_feedback'::regnamespace)
  AND relkind IN ('r', 'p', 'v', 'm', 'f')
"""


def test_every_threat_is_shown_by_a_test() -> None:
    assert [row for rows, _ in _SHOWN for row in rows.split(", ")] == rows_of(PAGE)
    assert len(rows_of(PAGE)) > 25


@pytest.mark.parametrize("shown", [shown for _, shown in _SHOWN], ids=[rows for rows, _ in _SHOWN])
def test_what_shows_a_threat_exists_in_the_file_that_is_named(shown: str) -> None:
    assert_tests_exist(shown)


@pytest.mark.parametrize("link", links_of(PAGE))
def test_every_link_leads_somewhere(link: str) -> None:
    assert_leads_somewhere(link, SECURITY)


def test_the_data_map_names_every_table_and_view(database: psycopg.Connection[Any]) -> None:
    start = PAGE.index("## Data map")
    mapped = set(re.findall(r"`((?:public|dpp_feedback)\.\w+)`", PAGE[start:]))
    assert mapped == {name for (name,) in database.execute(_RELATIONS)}
