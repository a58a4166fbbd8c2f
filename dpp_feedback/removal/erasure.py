"""Erasure: takes one person out of every row, and proves it with another search.

An event of the person's own is not deleted but stripped: of the recipient stays the domain, of the
source what counters take for it, of the details whether they were there. So the row says nothing
about anybody, and a recount says the same as before, without a second book. Rows about others that
only mention the address (the words of a mail server) lose the mention.

All changes are one transaction. Whoever is killed before its end has changed nothing; after it, the
same command finds nothing more to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpp_feedback.connection import LOCK_TIMEOUT, explaining
from dpp_feedback.daily_counts import COUNTERS
from dpp_feedback.rejects import statements
from dpp_feedback.removal import hashes, places, record
from dpp_feedback.removal.search import Found, search

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    import psycopg

    from dpp_feedback.removal.person import Person

_ROUNDS = 3  # searches after which what drains bring meanwhile is left to another run


@dataclass(frozen=True, slots=True)
class Listing:
    """What the list of who must not be mailed says of the person, and of the domain.

    Attributes:
        reason: why the address is suppressed now; None if it is not.
        since: when the first event of this reason happened; aware.
        hash_kept: whether a hash of it is kept; None without the key.
        others_of_domain: how many other recipients of the domain are in the events. With few, the
            domain, which counters keep, may name a person by itself.
    """

    reason: str | None
    since: datetime | None
    hash_kept: bool | None
    others_of_domain: int


@dataclass(frozen=True, slots=True)
class Erased:
    """How an erasure ended.

    Attributes:
        counts: how many rows, by what they were; as `Found.counts`.
        left: what the last search still found, or could not read.
        hash_kept: whether a hash was stored by it.
        hash_forgotten: whether one was removed by it.
    """

    counts: dict[str, int]
    left: Found
    hash_kept: bool
    hash_forgotten: bool

    @property
    def proven(self) -> bool:
        """Whether the last search read everything and found nothing."""
        return not self.left and not self.left.unread


def listing(connection: psycopg.Connection, person: Person, hash_key: str | None) -> Listing:
    """Ask what the suppression list says of a person.

    Args:
        connection: psycopg's, in autocommit mode; the login of a maintainer.
        person: who.
        hash_key: SES_FEEDBACK_ERASURE_KEY, if it is set.

    Raises:
        DatabaseRefused, DatabaseUnavailable: a table cannot be read.
    """
    with explaining("Reading public.ses_suppressed_recipients"):
        row = connection.execute(places.SUPPRESSED, [person.addresses]).fetchone()
        others = connection.execute(
            places.OTHERS_OF_DOMAIN,
            {
                "domains": [each.rpartition("@")[2] for each in person.addresses],
                "addresses": person.addresses,
            },
        ).fetchone()
    _, reason, since = row or (None, None, None)
    kept = None
    if hash_key is not None:
        kept = any(
            hashes.known(connection, hashes.hash_of(each, hash_key)) for each in person.addresses
        )
    return Listing(reason, since, kept, int(others[0]) if others else 0)


def erase(
    connection: psycopg.Connection,
    person: Person,
    found: Found,
    *,
    actor: str,
    reject_key: str | None = None,
    keep_hash: str | None = None,
    forget_hash: str | None = None,
) -> Erased:
    """Erase a person, and search again.

    What drains store of the person meanwhile is erased as well, for a few rounds.

    Args:
        connection: psycopg's, in autocommit mode; the login of a maintainer.
        person: who.
        found: where they stand, as `search` has just said.
        actor: who erases, without mail address.
        reject_key: what kept bodies are encrypted with.
        keep_hash: the key with which a hash of the address is kept if it is suppressed now.
        forget_hash: the key of a hash that is to go, too.

    Raises:
        DatabaseRefused, DatabaseUnavailable: the database refuses or fails. What was committed by
            then stays erased.
    """
    removal = record.begin(connection, actor=actor, events_before=None)
    counts = dict.fromkeys(found.counts(), 0)
    kept = forgotten = False
    for _ in range(_ROUNDS):
        now_kept, now_forgotten = _take_out(connection, person, found, keep_hash, forget_hash)
        kept, forgotten = kept or now_kept, forgotten or now_forgotten
        counts = {name: number + counts[name] for name, number in found.counts().items()}
        found = search(connection, person, reject_key)
        if not found:
            break
    erased = Erased(counts, found, kept, forgotten)
    why = None if erased.proven else "The search afterwards found something, or could not read all."
    record.finish(connection, removal, counts=counts, error=why)
    return erased


def _take_out(
    connection: psycopg.Connection,
    person: Person,
    found: Found,
    keep_hash: str | None,
    forget_hash: str | None,
) -> tuple[bool, bool]:
    """Change every row; all of them or none."""
    kept = forgotten = False
    with explaining("Erasing"), connection.transaction():
        connection.execute(LOCK_TIMEOUT)
        if keep_hash is not None:
            rows = connection.execute(places.SUPPRESSED, [person.addresses]).fetchall()
            for address, *why in rows:
                hashes.keep(connection, hashes.hash_of(address, keep_hash), *why)
                kept = True
        if forget_hash is not None:
            hashed = [hashes.hash_of(each, forget_hash) for each in person.addresses]
            forgotten = sum(hashes.forget(connection, each) for each in hashed) > 0
        _take_out_of_events(connection, person, found)
        _take_out_of_counters(connection, person, found)
        connection.execute(statements.LOCK)
        connection.execute(places.DROP_BODIES, [found.bodies])
        for place in places.PLACES:
            if place.table in found.rows:
                _take_out_of(connection, person, place)
    return kept, forgotten


def _take_out_of_events(connection: psycopg.Connection, person: Person, found: Found) -> None:
    from psycopg.types.json import Jsonb

    own, sources = [], []
    ids = sorted({*found.own, *found.naming})
    # Read anew, and locked: another erasure may have changed them.
    for event, counted in connection.execute(places.EVENTS_AGAIN.encode(), {"ids": ids}).fetchall():
        source = person.without(counted)
        if person.receives(event["primary_recipient"]) or person.leads_from(event["dedupe_key"]):
            own.append(event["id"])
            sources.append(source)
            continue
        sender = person.named_in([event["source"], counted])
        columns = ("ses_message_id", "feedback_id", "sns_message_id")
        connection.execute(
            places.REWRITE_EVENT,
            {
                "id": event["id"],
                # One that does not name the person stays as it is.
                "source": source if sender else event["source"],
                "type_data": Jsonb(person.without(event["type_data"])),
                "key_too": person.named_in(event["dedupe_key"]),
                **{name: person.without(event[name]) for name in columns},
            },
        )
    connection.execute(places.STRIP_EVENTS.encode(), {"ids": own, "sources": sources})


def _take_out_of_counters(connection: psycopg.Connection, person: Person, found: Found) -> None:
    if not found.sources:
        return
    renamed = {"old": found.sources, "new": [person.without(each) for each in found.sources]}
    for table in COUNTERS:
        connection.execute(places.lock_counters(table).encode(), renamed)
        connection.execute(places.move_counters(table).encode(), renamed)


def _take_out_of(connection: psycopg.Connection, person: Person, place: places.Place) -> None:
    from psycopg.types.json import Jsonb

    rows = connection.execute(place.find.encode(), {"patterns": person.patterns}).fetchall()
    for key, row in rows:
        values: dict[str, Any] = {name: person.without(row[name]) for name in place.columns}
        if place.json:
            values[place.json] = Jsonb(values[place.json])
        connection.execute(place.rewrite.encode(), {**values, "key": key})
