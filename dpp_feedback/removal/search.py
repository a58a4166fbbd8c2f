"""Looks for one person in all of our tables: before an erasure, and as the proof after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dpp_feedback.connection import DatabaseRefused, explaining
from dpp_feedback.daily_counts import COUNTERS
from dpp_feedback.rejects import Rejects
from dpp_feedback.removal import places

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

    from dpp_feedback.removal.person import Person

_EVENTS = "public.ses_feedback_events"
_IN_EVENTS = {
    "source",
    "type_data",
    "ses_message_id",
    "feedback_id",
    "sns_message_id",
    "dedupe_key",
}
_FIRST = "00000000-0000-0000-0000-000000000000"


@dataclass(slots=True)
class Found:
    """Where a person stands; ids and names of columns only.

    Attributes:
        own: ids of events of this recipient.
        naming: ids of other events that name the address.
        rows: keys of rows of other tables that name it, by table.
        sources: what the counters have as a source and names it.
        bodies: message ids of rejects whose kept body names it.
        elsewhere: columns that name it and that erasure does not write to.
        unread: bodies that cannot be decrypted, and so not searched.
        unread_until: when the last of these goes by itself; aware.
    """

    own: list[str] = field(default_factory=list)
    naming: list[str] = field(default_factory=list)
    rows: dict[str, list[str]] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list, repr=False)
    bodies: list[str] = field(default_factory=list)
    elsewhere: set[str] = field(default_factory=set)
    unread: int = 0
    unread_until: datetime | None = None

    def __bool__(self) -> bool:
        """Whether the person was found anywhere."""
        return bool(
            self.own or self.naming or self.rows or self.sources or self.bodies or self.elsewhere
        )

    def counts(self) -> dict[str, int]:
        """Return how many rows there are, by what they are."""
        return {
            "events": len(self.own),
            "events_naming": len(self.naming),
            "rejects": len(self.rows.get(places.REJECTS.table, [])),
            "bodies": len(self.bodies),
            "acts": sum(
                len(keys) for name, keys in self.rows.items() if name != places.REJECTS.table
            ),
            "sources": len(self.sources),
        }


def search(connection: psycopg.Connection, person: Person, reject_key: str | None) -> Found:
    """Look through every row of ours.

    Events are read in pages, so that no statement is long: some 100,000 a second.

    Args:
        connection: psycopg's, in autocommit mode; the login of a maintainer.
        person: whom to look for.
        reject_key: what kept bodies are encrypted with.

    Raises:
        DatabaseRefused, DatabaseUnavailable: a table cannot be read.
    """
    found = Found()
    patterns = {"patterns": person.patterns}
    with explaining("Searching the tables"):
        _search_events(connection, person, found)
        for place in places.PLACES:
            for key, row in connection.execute(place.find.encode(), patterns).fetchall():
                named = {name for name, value in row.items() if person.named_in(value)}
                if named & set(place.columns):
                    found.rows.setdefault(place.table, []).append(key)
                found.elsewhere |= {f"{place.table}.{name}" for name in named - set(place.columns)}
        for table in COUNTERS:
            _search_counter(connection, person, found, table)
        kept = connection.execute(places.BODIES).fetchall()
    rejects = Rejects(connection, reject_key)
    for message_id, until in kept:
        try:
            body = rejects.body(message_id)
        except DatabaseRefused:  # no key, or another one than it was kept with
            found.unread += 1
            found.unread_until = max(found.unread_until or until, until)
        else:
            if body is not None and person.named_in(body):
                found.bodies.append(message_id)
    return found


def _search_events(connection: psycopg.Connection, person: Person, found: Found) -> None:
    page: dict[str, Any] = {
        "after": _FIRST,
        "end": _FIRST,
        "page": places.PAGE - 1,
        "patterns": person.patterns,
    }
    while page["end"] is not None:
        row = connection.execute(places.END_OF_PAGE, page).fetchone()
        page["end"] = row[0] if row else None
        for event, counted in connection.execute(places.EVENTS_OF_PAGE.encode(), page).fetchall():
            texts = {**event, "source": [event["source"], counted]}
            named = {name for name, value in texts.items() if person.named_in(value)}
            named.discard("primary_recipient")
            if person.receives(event["primary_recipient"]) or person.leads_from(
                event["dedupe_key"]
            ):
                found.own.append(event["id"])
            elif named & _IN_EVENTS:
                found.naming.append(event["id"])
            found.elsewhere |= {f"{_EVENTS}.{name}" for name in named - _IN_EVENTS}
        page["after"] = page["end"]


def _search_counter(
    connection: psycopg.Connection, person: Person, found: Found, table: str
) -> None:
    columns = places.text_columns(table)
    statement = places.counters_naming(table).encode()
    for values in connection.execute(statement, {"patterns": person.patterns}).fetchall():
        for name, value in zip(columns, values, strict=True):
            if not person.named_in(value):
                continue
            if name != "source":
                found.elsewhere.add(f"{table}.{name}")
            elif value not in found.sources:
                found.sources.append(value)
