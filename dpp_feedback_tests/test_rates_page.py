"""docs/rates.md says what rates.py does: its table of kinds, and its SQL on a real Postgres."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dpp_feedback.feedback.counts import Count
from dpp_feedback.feedback.kinds import KINDS
from dpp_feedback.feedback.parser import parse
from dpp_feedback.feedback.rates import Place, Tally, bounce_rate, complaint_rate, place
from dpp_feedback.local.happenings import KINDS as SIMULATED
from dpp_feedback.local.traffic import traffic
from dpp_feedback.store import Store

if TYPE_CHECKING:
    import psycopg

    from dpp_feedback.feedback.events import FeedbackEvent

    Database = psycopg.Connection[tuple[Any, ...]]

PAGE = (Path(__file__).parents[1] / "docs" / "rates.md").read_text()
EVENTS_SQL, TOTALS_SQL, DOMAINS_SQL = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
FIRST, LAST = date(2026, 11, 1), date(2026, 11, 28)  # as the page has them
OUTCOMES = ("Delivery", "Bounce", "Complaint")


def _rows() -> list[list[str]]:
    """The table of what counts as what: kind, type, subtype, ours, estimate, source."""
    lines = PAGE.split("## What counts as what")[1].split("\n\n## ")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return cells[2:]


def _places(row: list[str]) -> set[Place]:
    kinds, bounce_type, sub_type = row[:3]
    name = sub_type.split()[0].strip(",") if sub_type else ""
    return {
        place(
            Count(
                day=FIRST,
                notification_type=kind,
                bounce_type=bounce_type,
                bounce_sub_type=name if kind == "Bounce" else "",
                complaint_sub_type=name if kind == "Complaint" else "",
                automatic_reply="without a delivery status" in sub_type,
                count=1,
            )
        )
        for kind in kinds.split(", ")
    }


OURS = {
    "hard": {Place.HARD_BOUNCE},
    "soft": {Place.SOFT_BOUNCE},
    "complaint": {Place.COMPLAINT},
    "a mail": {Place.SEND},
    "a mail, if `Send` is not used": {Place.DELIVERY},
    "no": {Place.OTHER},
    "no: SES did not try": {Place.SUPPRESSED_BOUNCE, Place.SUPPRESSED_COMPLAINT},
    "no: automatic reply to a delivered mail": {Place.AUTOMATIC_REPLY},
    "no: counted as unknown": {Place.UNKNOWN},
}


@pytest.mark.parametrize("row", _rows(), ids=lambda row: " ".join(row[:3]))
def test_every_row_of_the_table_is_what_the_code_does(row: list[str]) -> None:
    ours = row[3]
    expected = OURS.get(ours) or OURS[ours.split(":")[0]]
    assert _places(row) <= expected
    yes = _places(row) & {Place.HARD_BOUNCE, Place.COMPLAINT}
    assert row[4].startswith("yes") == bool(yes)


def test_every_kind_is_in_the_table() -> None:
    assert {kind for row in _rows() for kind in row[0].split(", ")} == {*KINDS, "others"}


def _events(seed: int, kinds: tuple[str, ...], number: int) -> list[FeedbackEvent]:
    """Events of four days, the first and last of which are outside the page's window."""
    events: list[FeedbackEvent] = []
    for back, day in enumerate((LAST + timedelta(days=1), LAST, FIRST, FIRST - timedelta(days=1))):
        at = datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=23, minutes=59)
        for each in traffic(number, seed=seed + back, at=at, kinds=kinds):
            outcome = parse(each.body, at)
            if isinstance(outcome, tuple):  # the rest is ignored or rejected
                events += outcome
    return events


def _counts(events: list[FeedbackEvent]) -> list[Count]:
    """Counted here once more, and not by Postgres."""
    return [
        Count(
            day=event.event_at.date(),
            notification_type=event.notification_type,
            bounce_type=event.bounce_type or "",
            bounce_sub_type=event.bounce_sub_type or "",
            complaint_sub_type=str(event.type_data.get("complaint_sub_type") or "")
            if event.notification_type == "Complaint"
            else "",
            automatic_reply=(event.bounce_type, event.bounce_sub_type) == ("Transient", "General")
            and not event.type_data.keys() & {"status", "action", "diagnostic_code"},
            recipient_domain=(event.primary_recipient or "").rpartition("@")[2],
            count=1,
        )
        for event in {event.dedupe_key: event for event in events}.values()
        if FIRST <= event.event_at.date() <= LAST
    ]


def _row(tally: Tally) -> tuple[Any, ...]:
    bounce, complaint = bounce_rate(tally), complaint_rate(tally)
    return (tally.mails, tally.bounces, tally.complaints, bounce.value, complaint.value)


@pytest.mark.parametrize(
    "kinds", [OUTCOMES, tuple(SIMULATED), (*OUTCOMES, "Send"), ("Complaint",)], ids=len
)
def test_the_sql_of_the_page_gives_the_same_figures(
    database: Database, database_url: str, kinds: tuple[str, ...]
) -> None:
    events = _events(len(kinds), kinds, 700)
    with Store.connect(database_url) as store:
        assert not store.insert(events).refused
    counts = _counts(events)
    expected = _row(Tally.of(counts))
    assert (expected[0] > 0) == (kinds != ("Complaint",))
    assert database.execute(EVENTS_SQL.encode()).fetchall() == [expected]
    assert database.execute(TOTALS_SQL.encode()).fetchall() == [expected]
    domains = {count.recipient_domain for count in counts}
    assert {row[0]: row[1:] for row in database.execute(DOMAINS_SQL.encode())} == {
        domain: _row(Tally.of(count for count in counts if count.recipient_domain == domain))
        for domain in domains
    }


def test_the_sql_of_the_page_gives_an_answer_without_any_event(database: Database) -> None:
    for sql in EVENTS_SQL, TOTALS_SQL:
        assert database.execute(sql.encode()).fetchall() == [(0, 0, 0, None, None)]
    assert database.execute(DOMAINS_SQL.encode()).fetchall() == []
