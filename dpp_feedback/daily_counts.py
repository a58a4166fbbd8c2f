"""Daily counters in Postgres: how events are counted as they are inserted, read, and mended.

`COUNTING` is the part of store.py's insert that counts. What the counts mean is feedback/rates.py's
business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dpp_feedback.connection import explaining
from dpp_feedback.feedback.counts import OTHERS, Count
from dpp_feedback.feedback.escaped import harmless
from dpp_feedback.masking import masked

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date

    import psycopg

# What each column of the counters is made from, in terms of the events' columns. The migration
# that made the tables says the same, for the events that were there before.
_KEY = {
    "day": "(event_at AT TIME ZONE 'UTC')::date",
    "notification_type": "left(notification_type, 40)",
    "bounce_type": "left(coalesce(bounce_type, ''), 40)",
    "bounce_sub_type": "left(coalesce(bounce_sub_type, ''), 40)",
    "complaint_sub_type": (
        "CASE WHEN notification_type = 'Complaint' "
        "THEN left(coalesce(type_data ->> 'complaint_sub_type', ''), 40) ELSE '' END"
    ),
    # AWS's page "Amazon SNS notification contents": a status, an action and a diagnostic code come
    # from a delivery status notification, which an automatic reply has not.
    "automatic_reply": (
        "coalesce(bounce_type = 'Transient' AND bounce_sub_type = 'General', false) "
        "AND NOT type_data ?| ARRAY['status', 'action', 'diagnostic_code']"
    ),
    # A regular expression costs as much as all the rest, so only where it is needed.
    "source": (
        # A variable return path (VERP) names the recipient, and each mail has its own.
        "left(CASE WHEN strpos(source, '=') > 0 "
        r"""THEN regexp_replace(source, '^[^"@]*=[^@]*@', '@') """
        "WHEN strpos(source, '+') > 0 "
        r"""THEN regexp_replace(source, '^([^"+@]+)[+][^@]*@', '\1@') """
        "ELSE coalesce(source, '') END, 128)"
    ),
    "configuration_set": "left(coalesce(configuration_set, ''), 64)",
    "recipient_domain": (
        "CASE WHEN strpos(primary_recipient, '@') > 0 "
        "THEN left(split_part(primary_recipient, '@', -1), 253) ELSE '' END"
    ),
}
_READING = "Reading the daily counts"
_COUNTS, _TOTALS = "public.ses_feedback_daily_counts", "public.ses_feedback_daily_totals"
_COLUMNS = {_COUNTS: list(_KEY), _TOTALS: [name for name in _KEY if name != "recipient_domain"]}

COUNTED_COLUMNS = (
    "event_at, notification_type, bounce_type, bounce_sub_type, type_data, source, "
    "configuration_set, primary_recipient"
)
"""Columns of `new` that `COUNTING` reads."""

COUNTED_SOURCE = _KEY["source"]
"""What the counters take for the source of an event, in terms of its columns."""

COUNTERS = {table: tuple(columns) for table, columns in _COLUMNS.items()}
"""The tables of counters, and the columns of their keys."""


def _added(table: str, rows: str) -> str:
    """Add rows to a counter; always in the order of its key, so that two never wait in a circle."""
    columns = ", ".join(_COLUMNS[table])
    # Whatever the collations of the database and of the rows: one order for everybody.
    order = ", ".join(
        name if name in ("day", "automatic_reply") else f'{name} COLLATE "C"'
        for name in _COLUMNS[table]
    )
    return (
        f"INSERT INTO {table} AS counter ({columns}, count) {rows} ORDER BY {order} "
        f"ON CONFLICT ({columns}) DO UPDATE SET count = counter.count + excluded.count"
    )


def _counted(table: str, events: str) -> str:
    """Count events, which stand in a table or the name of a query."""
    made = ", ".join(f"{_KEY[name]} AS {name}" for name in _COLUMNS[table])
    numbers = ", ".join(str(n) for n in range(1, len(_COLUMNS[table]) + 1))
    return f"SELECT {made}, count(*) AS count FROM {events} GROUP BY {numbers}"  # noqa: S608


def _new(table: str) -> str:
    columns = ", ".join(_COLUMNS[table])
    rows = f"SELECT {columns}, count FROM ({_counted(table, 'new')}) AS added"  # noqa: S608
    return _added(table, rows)


COUNTING = f"counted AS ({_new(_COUNTS)}), totalled AS ({_new(_TOTALS)})"
"""Two common table expressions that count the rows of a third, named `new`."""


def _mend(table: str, truth: str, day: str, known: str = "true") -> str:
    """Find where a counter and the truth differ, and add the difference, in one statement.

    It sees one moment, in which every transaction has both stored and counted its events; adding
    a difference instead of setting a value lets drains go on counting meanwhile. In the same moment
    the truth must be `known`.
    """
    columns = ", ".join(_COLUMNS[table])
    rows = f"SELECT {columns}, missing FROM difference"  # noqa: S608 - as all here, of constants
    return f"""
WITH told AS ({truth}),
kept AS (SELECT {columns}, count FROM {table} WHERE {day}),
difference AS MATERIALIZED (
  SELECT {columns}, coalesce(told.count, 0) - coalesce(kept.count, 0) AS missing
  FROM told FULL JOIN kept USING ({columns})
  WHERE coalesce(told.count, 0) <> coalesce(kept.count, 0) AND {known}
),
mended AS ({_added(table, rows)})
SELECT sum(greatest(missing, 0))::bigint, sum(greatest(-missing, 0))::bigint
FROM difference HAVING count(*) > 0
"""  # noqa: S608


# The floor stands in the record before the first event goes (removal/record.py).
_REMOVALS = "public.ses_feedback_removals WHERE kind = 'retention'"
_FLOOR = f"SELECT (max(events_before) AT TIME ZONE 'UTC')::date FROM {_REMOVALS}"  # noqa: S608
_DAY_BEGINS = "%(day)s::date::timestamp AT TIME ZONE 'UTC'"
_OF_DAY = (
    f"event_at >= {_DAY_BEGINS} AND event_at < (%(day)s::date + 1)::timestamp AT TIME ZONE 'UTC'"
)
_EVENTS = f"(SELECT * FROM public.ses_feedback_events WHERE {_OF_DAY}) AS event"  # noqa: S608
_TOTALS_COLUMNS = ", ".join(_COLUMNS[_TOTALS])
# The counts from the events, which takes a look at each of them; then the totals from the counts.
_MEND = (
    _mend(
        _COUNTS,
        _counted(_COUNTS, _EVENTS),
        # Where no event is left of a day they have been removed, and their counts outlive them.
        "day = %(day)s AND EXISTS (SELECT FROM told)",
        # The same of a day whose events begin to go, or were kept in part.
        f"NOT EXISTS (SELECT FROM {_REMOVALS} AND events_before > {_DAY_BEGINS})",
    ),
    _mend(
        _TOTALS,
        f"SELECT {_TOTALS_COLUMNS}, sum(count)::bigint AS count FROM {_COUNTS} "  # noqa: S608
        f"WHERE day = %(day)s GROUP BY {_TOTALS_COLUMNS}",
        "day = %(day)s",
    ),
)

_DAYS = "day BETWEEN %(first)s AND %(last)s AND count <> 0"
_READ_TOTALS = f"SELECT {', '.join(_COLUMNS[_TOTALS])}, count FROM {_TOTALS} WHERE {_DAYS}"  # noqa: S608


def _largest(name: str) -> str:
    """The groups of a dimension with the most mails lately, and those with the most trouble."""
    recent = "day > %(last)s::date - 28"
    mails = "notification_type IN ('Send', 'Delivery', 'Bounce')"
    of_all = (
        f"SELECT {name} FROM counter WHERE {recent} "  # noqa: S608
        f"GROUP BY 1 ORDER BY sum(count) FILTER (WHERE {mails}) DESC NULLS LAST, 1 LIMIT %(top)s"
    )
    of_trouble = (
        f"SELECT {name} FROM counter WHERE notification_type IN ('Bounce', 'Complaint') "  # noqa: S608
        "GROUP BY 1 ORDER BY sum(count) DESC, 1 LIMIT %(top)s"
    )
    return f"({of_all}) UNION ({of_trouble})"


_FOLDED = ("source", "configuration_set", "recipient_domain")
_READ_COUNTS = f"""
WITH counter AS MATERIALIZED (SELECT * FROM {_COUNTS} WHERE {_DAYS})
SELECT {
    ", ".join(
        f"CASE WHEN {name} IN ({_largest(name)}) THEN {name} ELSE %(others)s END AS {name}"
        if name in _FOLDED
        else name
        for name in _KEY
    )
}, sum(count)::bigint
FROM counter GROUP BY {", ".join(str(n) for n in range(1, len(_KEY) + 1))}
"""  # noqa: S608

_OF_DOMAINS = [name for name in _KEY if name not in ("source", "configuration_set")]
_READ_COUNTS_OF = f"""
SELECT {", ".join(_OF_DOMAINS)}, sum(count)::bigint FROM {_COUNTS}
WHERE {_DAYS} AND recipient_domain = ANY (%(domains)s)
GROUP BY {", ".join(str(n) for n in range(1, len(_OF_DOMAINS) + 1))}
"""  # noqa: S608
_READ_COMPLAINING = f"""
SELECT DISTINCT recipient_domain FROM {_COUNTS}
WHERE {_DAYS} AND notification_type = 'Complaint'
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Difference:
    """A day on which counters and events differed.

    Attributes:
        day: in UTC.
        missing: events that were stored and not counted.
        surplus: events that were counted and are not stored.
    """

    day: date
    missing: int
    surplus: int


class DailyCounts:
    """The counters, through one connection in autocommit mode. `Store.daily_counts` is one."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def totals(self, first: date, last: date) -> list[Count]:
        """Read the counts of some days without domains: a few dozen for each day.

        Raises:
            DatabaseRefused, DatabaseUnavailable: the counters cannot be read.
        """
        return self._read(_READ_TOTALS, _COLUMNS[_TOTALS], first, last)

    def largest(self, first: date, last: date, top: int = 20) -> list[Count]:
        """Read the counts of some days in every dimension, the many small groups folded.

        Args:
            first: the first day.
            last: the last day, included.
            top: so many sources, configuration sets and domains with the most mails in the last
                28 of the days are kept apart, and as many with the most bounces and complaints
                in all of them; `OTHERS` holds the rest.

        Raises:
            DatabaseRefused, DatabaseUnavailable: the counters cannot be read.
        """
        return self._read(_READ_COUNTS, list(_KEY), first, last, top=top, others=OTHERS)

    def of_domains(self, first: date, last: date, domains: Collection[str]) -> list[Count]:
        """Read the counts of some domains, all sources and configuration sets together.

        Raises:
            DatabaseRefused, DatabaseUnavailable: the counters cannot be read.
        """
        return self._read(_READ_COUNTS_OF, _OF_DOMAINS, first, last, domains=sorted(domains))

    def complaining_domains(self, first: date, last: date) -> set[str]:
        """Name the domains that a complaint came from.

        Raises:
            DatabaseRefused, DatabaseUnavailable: the counters cannot be read.
        """
        with explaining(_READING):
            days = {"first": first, "last": last}
            return {name for (name,) in self._connection.execute(_READ_COMPLAINING, days)}

    def floor(self) -> date | None:
        """Say which is the first day that can be recounted: of the days before, events are removed.

        Returns:
            None while nothing has been removed.

        Raises:
            DatabaseRefused, DatabaseUnavailable: the record of removals cannot be read.
        """
        with explaining("Reading public.ses_feedback_removals"):
            row = self._connection.execute(_FLOOR).fetchone()
        return row[0] if row else None

    def mend(self, first: date, last: date) -> list[Difference]:
        """Recount some days from the events, and correct the counters where they differ.

        Days before the `floor` stay as they are.

        Returns:
            The days that differed; none when all was well.

        Raises:
            DatabaseRefused, DatabaseUnavailable: the database refuses, or fails.
        """
        with explaining("Recounting the daily counts"):
            found = (
                self._mend_day(first + timedelta(days=number))
                for number in range((last - first).days + 1)
            )
            return [difference for difference in found if difference]

    def _mend_day(self, day: date) -> Difference | None:
        """Mend one day: what it holds fits into memory, and its locks are short.

        Measured: a year of 10 million events so takes a third of the time of one statement.
        """
        differences = []
        for statement in _MEND:
            with self._connection.transaction():
                # Two at once would both add the same difference.
                self._connection.execute(
                    "SELECT pg_advisory_xact_lock(hashtextextended('dpp_feedback.mend', 0))"
                )
                differences += self._connection.execute(statement, {"day": day}).fetchall()
        # Totals tell the same as counts: what differs in both is told once.
        return Difference(day, *differences[0]) if differences else None

    def _read(
        self, statement: str, columns: list[str], first: date, last: date, **more: Any
    ) -> list[Count]:
        with explaining(_READING):
            rows = self._connection.execute(statement, {"first": first, "last": last, **more})
            # Names come from bodies; from here on they go into sentences, tables and pages.
            return [
                Count(**dict(zip(columns, map(_shown, columns, values), strict=True)), count=count)
                for *values, count in rows
            ]


def _shown(column: str, value: Any) -> Any:
    return _name(value, column == "source") if isinstance(value, str) else value


@lru_cache(maxsize=4096)  # a few hundred names stand in tens of thousands of rows
def _name(text: str, is_address: bool) -> str:
    """Reports name senders; in any other column an address is somebody's trick."""
    return harmless(text) if is_address else masked(harmless(text))
