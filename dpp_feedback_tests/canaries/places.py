"""Everywhere that something could be left behind: files, cells of databases, Dagster's GraphQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from dpp_feedback_tests.canaries.search import Search

Found = dict[str, set[str]]
"""Canaries, by the place where they are."""


def in_files(search: Search, folder: Path, meant: Callable[[Path], bool]) -> Found:
    """Look into every file of a folder, and into its name, but where canaries are meant to be."""
    found: Found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and not meant(path):
            name = str(path.relative_to(folder))
            found[name] = search(path.read_bytes()) | search(name)
    return _only_what_is(found)


def in_sqlite(search: Search, folder: Path) -> Found:
    """Look into every cell of every SQLite file of a folder: pages of a file cut long cells."""
    found: Found = {}
    files = [path for path in sorted(folder.rglob("*.db")) if path.is_file()]
    assert files, f"there is no SQLite file below {folder}"
    for path in files:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (table,) in tables.fetchall():
                place = f"{path.relative_to(folder)}: {table}"
                found[place] = set()
                for row in database.execute(f'SELECT * FROM "{table}"'):  # noqa: S608
                    for cell in row:
                        if isinstance(cell, str | bytes):
                            found[place] |= search(cell)
    return _only_what_is(found)


def in_postgres(search: Search, database_url: str, meant: Mapping[str, set[str]]) -> Found:
    """Look into every column of every table and view of ours.

    Args:
        search: for what.
        database_url: of a superuser.
        meant: by the name of a table or view, the columns in which canaries are meant to be.
    """
    found: Found = {}
    with psycopg.connect(database_url) as database:
        columns = database.execute(
            "SELECT table_schema, table_name, column_name FROM information_schema.columns "
            "WHERE table_schema IN ('public', 'dpp_feedback')"
        ).fetchall()
        assert columns
        for schema, table, column in columns:
            if column in meant.get(table, ()):
                continue
            cells = database.execute(
                sql.SQL("SELECT DISTINCT {}::text FROM {}").format(
                    sql.Identifier(column), sql.Identifier(schema, table)
                )
            )
            found[f"{table}.{column}"] = search("\n".join(cell for (cell,) in cells if cell))
        comments = database.execute("SELECT description FROM pg_description").fetchall()
        found["comments"] = search("\n".join(text for (text,) in comments))
    return _only_what_is(found)


def in_texts(search: Search, texts: Iterable[tuple[str, str]]) -> Found:
    """Look into texts by their names."""
    found: Found = {}
    for name, text in texts:
        found.setdefault(name, set()).update(search(text))
    return _only_what_is(found)


def in_json(search: Search, name: str, value: Any) -> Found:
    """Look into every text of an answer, each by itself, with the way that leads to it."""
    found: Found = {}
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= in_json(search, f"{name}.{key}", inner)
    elif isinstance(value, list):
        for inner in value:
            for place, words in in_json(search, f"{name}[]", inner).items():
                found.setdefault(place, set()).update(words)
    elif isinstance(value, str):
        found[name] = search(value)
    return _only_what_is(found)


def _only_what_is(found: Found) -> Found:
    return {place: words for place, words in found.items() if words}
