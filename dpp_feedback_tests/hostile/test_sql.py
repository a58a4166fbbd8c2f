"""SQL only with parameters: statements are constants, and so are the names in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dpp_feedback_tests.hostile.sql_rules import offenders

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sorted(
    path for room in ("dpp_feedback", "benchmarks") for path in (ROOT / room).rglob("*.py")
)
SQL = sorted([*(ROOT / "migrations").rglob("*.sql"), *(ROOT / "docs").glob("*.sql")])
SHELL = sorted((ROOT / "scripts").glob("*.sh"))

# What is not made of constants, and why it may be so.
_A_FILE = "a file of this repository, whole; its checksum is compared"
_NAMED_BY_PLACES = "removal/places.py makes it of its own constants and of the counters' names"
_A_PARAMETER = "the caller's constant: `insert` hands on one of two"
_FROM_CATALOG = "a name that Postgres's catalog says, quoted by psycopg"
ALLOWED = {
    "benchmarks/bench.py": {
        "execute(workers)": "no SQL: it runs a drain",
        "Identifier(before)": "a database of its own, quoted by psycopg",
    },
    "benchmarks/filling.py": {
        "execute(sql.SQL(_FILL).format(table=table), "
        "{'first': _FIRST, 'apart': _APART, **numbers})": "a table that the caller names",
    },
    "benchmarks/growth.py": {"Identifier(name)": _FROM_CATALOG},
    "benchmarks/large_table.py": {
        "Identifier('public', oldest)": _FROM_CATALOG,
        "Identifier(f'ses_feedback_events_{first:%Y_%m}')": "made of a date, quoted by psycopg",
    },
    "benchmarks/migrations.py": {
        "copy(path, folder / path.relative_to(migrations_directory()))": "no SQL: a file is copied",
    },
    "benchmarks/soak/faults.py": {
        "execute(f'LOCK TABLE {self._random.choice(_TABLES)} IN ACCESS EXCLUSIVE MODE')": (
            "one of a module's constants"
        ),
    },
    "dpp_feedback/doctor/database.py": {"execute(sql)": _A_FILE},
    "dpp_feedback/local/postgres.py": {
        "Identifier(name)": "a database of the local stack, quoted by psycopg"
    },
    "dpp_feedback/migrate.py": {
        "execute(file.beforehand.encode())": _A_FILE,
        "execute(statement.encode())": "what such a file answers, made with format() and %I",
    },
    "dpp_feedback/rejects/bodies.py": {
        "Identifier(row[0], function)": _FROM_CATALOG,
        "execute(query, [key, message_id])": "composed two lines above, of the name just mentioned",
    },
    "dpp_feedback/rejects/upsert.py": {
        "execute(statement, values)": "composed of a constant, that name and a literal"
    },
    "dpp_feedback/removal/erasure.py": {
        "execute(places.lock_counters(table).encode(), renamed)": _NAMED_BY_PLACES,
        "execute(places.move_counters(table).encode(), renamed)": _NAMED_BY_PLACES,
        "execute(place.rewrite.encode(), {**values, 'key': key})": _NAMED_BY_PLACES,
        "execute(place.find.encode(), {'patterns': person.patterns})": _NAMED_BY_PLACES,
    },
    "dpp_feedback/removal/search.py": {
        "execute(statement, {'patterns': person.patterns})": _NAMED_BY_PLACES,
        "execute(place.find.encode(), patterns)": _NAMED_BY_PLACES,
    },
    "dpp_feedback/store.py": {"execute(statement.encode(), _arrays(distinct))": _A_PARAMETER},
}
# What format() may put into a statement as it is: each is quoted, or one of the file's own words.
_AS_IT_IS = {
    "allowed.columns": "from the file's own list",
    "choice": "a CASE between the file's own words",
    "bare": "a regclass, which is written quoted where it must be",
    "object": "a regclass",
    "outsider": "'public', or a role's name through quote_ident()",
    "verb": "one of the file's own verbs",
}


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_statements_and_names_are_made_of_constants(path: Path) -> None:
    allowed = ALLOWED.get(str(path.relative_to(ROOT)), {})
    assert set(offenders(path.read_text())) == set(allowed)


HEAD = "from psycopg import sql\n_TABLE = 'events'\n_QUERY = f'SELECT * FROM {_TABLE}'\n"


@pytest.mark.parametrize(
    "function",
    [
        'def f(db, name): db.execute(f"SELECT * FROM {name}")',
        'def f(db, name): db.execute("SELECT * FROM %s" % name)',
        'def f(db, name): db.execute("SELECT * FROM " + name)',
        'def f(db, name): db.execute("SELECT * FROM {}".format(name))',
        'def f(db, name): db.execute(" ".join(["SELECT", name]))',
        'def f(db, name): db.execute("".join(["SELECT 1 ", name]).encode())',
        'def f(db, name):\n  query = f"SELECT {name}"\n  db.execute(query)',
        "def f(db, name):\n  query = _QUERY\n  query += name\n  db.execute(query)",
        "def f(db, names):\n  for query in names: db.execute(query)",
        "def f(db, names):\n  with names as query: db.execute(query)",
        "def f(db, event): db.execute(event.kind)",
        "def f(db, query): db.executemany(query, [])",
        'def f(db, _TABLE): db.execute(f"SELECT {_TABLE}")',
        "def f(db, name): db.execute(sql.SQL(name))",
        'def f(db, name): db.execute(sql.SQL("SELECT {}").format(sql.Identifier(name)))',
        'def f(db, name): db.execute(sql.SQL("SELECT {}").format(sql.SQL(name)))',
        'def f(db, name): db.execute(sql.SQL(f"SELECT {name}").format(a=sql.Literal(1)))',
        'def f(cursor, name):\n  with cursor.copy(f"COPY {name} FROM STDIN"): pass',
        "def f(db, name): _g(db, name)\ndef _g(db, query): db.execute(query)",
        'def f(db, name): pandas.read_sql(f"SELECT {name}", db)',
        "f = lambda db, name: db.execute(name())",
        "class A:\n  async def f(self, db): await db.execute(self.query)",
    ],
)
def test_what_a_body_could_reach_is_found(function: str) -> None:
    assert offenders(HEAD + function)


@pytest.mark.parametrize(
    "function",
    [
        "def f(db, name): db.execute(_QUERY, [name])",
        'def f(db, name): db.execute("SELECT %s", [name])',
        "def f(db): db.execute(_QUERY.encode())",
        'def f(db, all): db.execute(_QUERY if all else "SELECT 1")',
        'def f(db):\n  for query in (_QUERY, "SELECT 1"): db.execute(query)',
        'def f(db):\n  for name, query in (("a", _QUERY), ("b", "SELECT 1")): db.execute(query)',
        'def f(db):\n  query = f"{_QUERY} LIMIT 1"\n  db.execute(query)',
        "def f(db): db.execute(statements.REOPEN)\nimport statements",
        "def f(db): _g(db, _QUERY)\ndef _g(db, query): db.execute(query)",
        'def f(db, n): db.execute(sql.SQL("SELECT {}").format(sql.Literal(n)))',
        "def f(db): db.execute(sql.SQL('TABLE {}').format(sql.Identifier(_TABLE)))",
    ],
)
def test_what_is_constant_is_let_through(function: str) -> None:
    assert offenders(HEAD + function) == []


@pytest.mark.parametrize("path", SQL, ids=lambda path: str(path.relative_to(ROOT)))
def test_sql_files_execute_only_what_format_quotes(path: Path) -> None:
    assert not unquoted(path.read_text())


@pytest.mark.parametrize(
    "statement",
    [
        "execute 'drop table ' || name;",
        "execute statement;",
        "execute format('drop table %s', name);",
        "execute format('drop table ' || name);",
        "execute format('drop table %I ' || more, name);",
        "execute pg_catalog.format('drop table %I.%s', schema, name);",
        "EXECUTE format('drop table %1$s', name);",
        "execute format('drop %s', case when a then b else 'c' end);",
    ],
)
def test_a_statement_that_is_put_together_is_found(statement: str) -> None:
    assert unquoted(f"begin\n  {statement}\nend")


def test_shell_scripts_run_no_sql() -> None:
    assert SHELL
    assert [path.name for path in SHELL if re.search(r"\bpsql\b", path.read_text())] == []


_EXECUTE = re.compile(r"\bexecute\s+(?!function\b|procedure\b|on\b)([^;]*);", re.IGNORECASE)
_FORMAT = re.compile(
    r"(?:pg_catalog\.)?format\(\s*'(?P<text>(?:[^']|'')*)'\s*(?:,(?P<names>.*))?\)", re.DOTALL
)
_CHOICE = re.compile(r"case\b.*?\bend\b", re.DOTALL)
_CHOSEN = re.compile(r"\b(?:then|else)\s+(?!')")


def unquoted(text: str) -> list[str]:
    """Return what a SQL file executes that is not one literal, filled in by %I and %L."""
    found = []
    for execute in _EXECUTE.finditer(re.sub(r"--[^\n]*", "", text)):
        call = _FORMAT.fullmatch(execute[1].strip())
        if not call or not _quoting(call["text"], call["names"] or ""):
            found.append(execute[0])
    return found


def _quoting(text: str, given: str) -> bool:
    """Whether format() quotes what it is given, but for the file's own words."""
    choices = _CHOICE.findall(given)
    if any(_CHOSEN.search(choice) for choice in choices):
        return False
    names = [name.strip() for name in _CHOICE.sub("choice", given).split(",")]
    fields = re.findall(r"%(?!%)(\d+\$)?(.)", text)
    as_it_is = {
        names[int(number[:-1]) - 1 if number else place]
        for place, (number, kind) in enumerate(fields)
        if kind == "s"
    }
    return as_it_is <= _AS_IT_IS.keys() and {kind for _, kind in fields} <= {"I", "L", "s"}
