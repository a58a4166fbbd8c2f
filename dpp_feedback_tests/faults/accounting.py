"""Where each published message is, seen from outside: in the table and in the queues alone.

What the product says of itself is not asked. Nothing here starts, publishes or drains anything.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from benchmarks.loopback_sqs.control import Contents

Fate: TypeAlias = Literal["events", "ignored", "poison"]

_ROWS = """
SELECT dedupe_key, to_char(event_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), notification_type
FROM public.ses_feedback_events
"""
_COUNTED = (
    "SELECT to_char(day, 'YYYY-MM-DD'), notification_type, sum(count)::bigint FROM {} GROUP BY 1, 2"
)
_COUNTERS = ("public.ses_feedback_daily_counts", "public.ses_feedback_daily_totals")


@dataclass(frozen=True, slots=True)
class Sent:
    """One message that was put into the queue.

    Attributes:
        id: SQS's message id, the same in the dead-letter queue.
        fate: what must become of it: rows, nothing, or an end in the dead-letter queue.
        keys: dedupe keys of the rows that must be there, those of the good records of a poisoned
            body among them.
    """

    id: str
    fate: Fate
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Published:
    """What was put into the queue, in order."""

    sent: tuple[Sent, ...] = ()

    def __add__(self, other: Published) -> Published:
        return Published(self.sent + other.sent)

    def __iter__(self) -> Iterator[Sent]:
        return iter(self.sent)

    def __len__(self) -> int:
        return len(self.sent)

    @property
    def keys(self) -> frozenset[str]:
        """Of every row that must be there in the end."""
        return frozenset(key for one in self.sent for key in one.keys)

    @property
    def poison(self) -> int:
        """Messages that must end in the dead-letter queue."""
        return sum(one.fate == "poison" for one in self.sent)


@dataclass(frozen=True, slots=True)
class Account:
    """Where the published messages are, each in one place.

    Attributes:
        published: messages.
        stored: gone from the queue, all their rows are there, and none came with an earlier one.
        duplicates: gone from the queue, and their rows came with an earlier message.
        ignored: gone from the queue, and they have no rows.
        dead: in the dead-letter queue.
        left: in the queue: waiting, in flight or delayed.
        lost: message ids: deleted though a row is missing or they are poison; expired; nowhere.
        good_in_dlq: message ids of those dead that are no poison.
        rows: in the event table.
        rows_twice: rows beyond the first of their key.
        rows_missing: dedupe keys of `published` that have no row.
        rows_unexpected: rows whose key nobody published.
        counted: what the daily counters add up to.
        counters_differ: (table, day, kind) where a counter is not what the rows say.
    """

    published: int = 0
    stored: int = 0
    duplicates: int = 0
    ignored: int = 0
    dead: int = 0
    left: int = 0
    lost: list[str] = field(default_factory=list)
    good_in_dlq: list[str] = field(default_factory=list)
    rows: int = 0
    rows_twice: int = 0
    rows_missing: list[str] = field(default_factory=list)
    rows_unexpected: list[str] = field(default_factory=list)
    counted: int = 0
    counters_differ: list[tuple[str, str, str]] = field(default_factory=list)


def account(
    database: psycopg.Connection[tuple[Any, ...]],
    queue: Contents,
    dead_letters: Contents,
    published: Published,
) -> Account:
    """Compare what was published with what is there.

    Args:
        database: a connection in autocommit mode.
        queue: what the server says of the queue.
        dead_letters: of its dead-letter queue.
        published: everything that was put into the queue, ever.
    """
    rows = database.execute(_ROWS).fetchall()
    by_key = Counter(key for key, _, _ in rows)
    dead = _held(dead_letters)
    left = _held(queue)
    gone = {*queue.deleted, *dead_letters.deleted}  # dead ones that were reprocessed, too
    lost: list[str] = []
    good_in_dlq: list[str] = []
    stored = duplicates = ignored = in_dlq = remaining = 0
    first: set[str] = set()
    for one in published:
        # A message that moved to the dead-letter queue is in no list of the main one.
        if one.id in dead:
            in_dlq += 1
            if one.fate != "poison":
                good_in_dlq.append(one.id)
        elif one.id in left:
            remaining += 1
        elif one.id not in gone or one.fate == "poison" or not one.keys <= by_key.keys():
            lost.append(one.id)
        elif one.fate == "ignored":
            ignored += 1
        elif one.keys & first:
            duplicates += 1
        else:
            stored += 1
        if one.id in gone:
            first |= one.keys
    counted, differ = _counters(database, Counter((day, kind) for _, day, kind in rows))
    return Account(
        published=len(published),
        stored=stored,
        duplicates=duplicates,
        ignored=ignored,
        dead=in_dlq,
        left=remaining,
        lost=lost,
        good_in_dlq=good_in_dlq,
        rows=len(rows),
        rows_twice=len(rows) - len(by_key),
        rows_missing=sorted(published.keys - by_key.keys()),
        rows_unexpected=sorted(by_key.keys() - published.keys),
        counted=counted,
        counters_differ=differ,
    )


def assert_nothing_lost(found: Account, published: Published) -> None:
    """Hold the three promises, once the queue is empty."""
    assert not found.lost
    assert not found.left
    assert not found.good_in_dlq
    assert found.dead == published.poison
    assert found.stored + found.duplicates + found.ignored + found.dead == found.published
    assert not found.rows_missing
    assert not found.rows_unexpected
    assert not found.rows_twice
    assert found.rows == found.counted == len(published.keys)
    assert not found.counters_differ


def _held(queue: Contents) -> set[str]:
    return {*queue.waiting, *queue.in_flight, *queue.delayed}


def _counters(
    database: psycopg.Connection[tuple[Any, ...]], rows: Counter[tuple[str, str]]
) -> tuple[int, list[tuple[str, str, str]]]:
    """What the counters add up to, and where they are not what the rows say."""
    total = 0
    differ: list[tuple[str, str, str]] = []
    for table in _COUNTERS:
        counts = Counter(
            {(day, kind): int(n) for day, kind, n in database.execute(_COUNTED.format(table))}
        )
        total = counts.total()
        differ += [(table, *key) for key in rows | counts if rows[key] != counts[key]]
    return total, differ
