"""What a list of dead letters says, and what it leaves out. No queue, no clock."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from dpp_feedback.commands import look_shown
from dpp_feedback.dlq.listing import Entry, Listing
from dpp_feedback.dlq.selection import Selection
from dpp_feedback.feedback.events import RejectedReason
from dpp_feedback.move_tasks import MoveTask
from dpp_feedback.queue import Message
from dpp_feedback_tests.feedback.bodies import SENT_AT, in_sns, payload

if TYPE_CHECKING:
    from collections.abc import Iterator

RETENTION = timedelta(days=14)
NOW = SENT_AT + timedelta(days=1)
ID = "30cf7eef-cf11-47d2-ba18-{:012}"
BOUNCE = json.dumps(in_sns(payload("event_bounce")))


def message(number: int, body: str = "{}", sent_at: datetime = SENT_AT) -> Message:
    return Message(ID.format(number), sent_at, number, body, "handle")


def entry(number: int = 1, body: str = "{}", sent_at: datetime = SENT_AT) -> Entry:
    return Entry.of(message(number, body, sent_at), (), RETENTION)


def listing(*bodies: str, refused: tuple[str, ...] = (), **changes: Any) -> Listing:
    messages = [message(number, body) for number, body in enumerate(bodies, 1)]
    chosen: dict[str, Any] = {"selection": Selection.of(), "refused": refused} | changes
    return Listing(messages, retention=RETENTION, **chosen)


def shown(several: Listing) -> list[str]:
    return [each.message_id[-2:] for each, _ in several]


def page(*entries: Entry, width: int, colours: bool = False, header: bool = True) -> str:
    out = StringIO()
    console = Console(file=out, width=width, force_terminal=colours, highlight=False)
    console.print(look_shown.page(entries, width, NOW, header=header))
    return out.getvalue()


def test_an_entry_says_what_the_envelope_the_queue_and_the_parser_say() -> None:
    assert entry(3, BOUNCE).as_json() == {
        "message_id": ID.format(3),
        "sent_at": "2026-02-18T12:00:00+00:00",
        "expires_at": "2026-03-04T12:00:00+00:00",
        "receive_count": 3,
        "size": len(BOUNCE),
        "topic_arn": "arn:aws:sns:eu-west-1:111122223333:feedback",
        "kinds": ["Bounce"],
        "reason": "readable",
        "detail": None,
    }
    assert entry(body="é").size == 2


def test_no_address_of_a_body_is_in_an_entry() -> None:
    kind = {"eventType": "New jane@example.com", "mail": {"messageId": "1"}}
    for body in (json.dumps(kind), BOUNCE, BOUNCE[:900], json.dumps([kind, {}])):
        written = json.dumps(entry(body=body).as_json())
        assert "jane@" not in written
        assert "@example.net" not in written


def test_counts_are_of_what_is_shown_and_of_all() -> None:
    several = listing(BOUNCE, "{}", "x", selection=Selection.of(reasons=["not_ses"]))
    assert shown(several) == ["02"]
    assert (several.seen, several.shown, several.limited) == (3, 1, False)
    assert several.reasons == {"not_ses": 1}
    assert several.all_reasons == {"readable": 1, "not_ses": 1, "not_json": 1}


def test_what_the_database_refused_is_told_from_what_is_readable() -> None:
    several = listing(BOUNCE, BOUNCE, refused=(ID.format(2),))
    assert [each.reason for each, _ in several] == ["readable", RejectedReason.REFUSED_BY_DATABASE]


def test_a_limit_and_a_found_id_end_the_look_early() -> None:
    def endless() -> Iterator[Message]:
        number = 0
        while True:
            number += 1
            yield message(number)

    first = Listing(endless(), Selection.of(), refused=(), retention=RETENTION, limit=3)
    assert shown(first) == ["01", "02", "03"]
    assert first.limited
    one = Selection.of(message_ids=[ID.format(5)])
    found = Listing(endless(), one, refused=(), retention=RETENTION)
    assert shown(found) == ["05"]
    assert (found.seen, found.limited) == (5, False)


@pytest.mark.parametrize(
    "text",
    ["mailbox full", "MAILBOX", '"bounceType"', '\\"bounceType\\"', "Kreuzstraße 5", "日本\n"],
)
def test_a_text_is_found_as_it_stands_and_in_json_in_json(text: str) -> None:
    inner = json.dumps({"d": "Mailbox FULL", "bounceType": "x", "c": "kreuzstraße 5, 日本\n"})
    for body in (
        json.dumps({"Message": inner}),
        json.dumps({"Message": inner}, ensure_ascii=False),
    ):
        assert shown(listing("{}", body, contains=text)) == ["02"]
    assert shown(listing("{}", contains=text)) == []


def test_the_first_to_expire_is_the_oldest_of_all() -> None:
    messages = [message(1), message(2, sent_at=SENT_AT - timedelta(days=3)), message(3)]
    several = Listing(messages, Selection.of(), refused=(), retention=RETENTION)
    assert len(shown(several)) == 3
    assert several.first_expires_at == SENT_AT - timedelta(days=3) + RETENTION


def test_a_long_list_keeps_no_body() -> None:
    def many() -> Iterator[Message]:
        for number in range(2000):
            yield message(number, f'{{"orderId": {number}, "x": "{"y" * 20_000}"}}')

    tracemalloc.start()
    try:
        several = Listing(many(), Selection.of(), refused=(), retention=RETENTION)
        assert sum(1 for _ in several) == 2000
        assert tracemalloc.get_traced_memory()[1] < 4_000_000  # the bodies are ten times as much
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("width", [80, 100, 143, 144, 160, 200])
def test_ids_reasons_and_times_are_whole_at_every_width(width: int) -> None:
    text = page(entry(1, BOUNCE), entry(2, '{"eventType":"Open","mail":[]}'), width=width)
    assert all(len(line) <= width for line in text.splitlines())
    for whole in (ID.format(1), ID.format(2), "wrong_type", "readable", "2026-02-18 12:00"):
        assert whole in text
    for header in (
        "message id",
        "received (UTC)",
        "age",
        "receives",
        "topic",
        "kind",
        "reason",
    ):
        assert header in text
    for cell in ("24 h", "03-04 12:00, in 13 d", "Bounce", "feedback"):
        assert cell in text
    assert "…" not in text


def test_long_names_are_folded_and_not_cut() -> None:
    topic = "ses-feedback-" + "x" * 90
    body = json.dumps(in_sns("x", TopicArn=f"arn:aws:sns:eu-west-1:111122223333:{topic}"))
    for width in (80, 160):
        assert page(entry(1, body), width=width).count("x") >= 90


def test_the_longest_reason_is_whole() -> None:
    refused = Entry.of(message(1, BOUNCE), {ID.format(1)}, RETENTION)
    assert "refused_by_database" in page(refused, width=80)
    assert "refused_by_database" in page(refused, width=160)


@pytest.mark.parametrize("width", [80, 160])
def test_what_expires_within_three_days_is_red(width: int) -> None:
    red = "\x1b[1;31m"
    assert red not in page(entry(), width=width, colours=True)
    soon = entry(sent_at=NOW - RETENTION + timedelta(days=2, hours=23))
    assert f"{red}02-22 11:00, in 2 d" in page(soon, width=width, colours=True)
    over = entry(sent_at=NOW - RETENTION - timedelta(hours=1))
    assert "02-19 11:00, now" in page(over, width=width, colours=True)


@pytest.mark.parametrize("width", [80, 160])
def test_nothing_of_a_body_steers_the_terminal(width: int) -> None:
    body = {"eventType": "A\u202eB [red]C[/red] \u2028", "mail": {"messageId": "1"}}
    text = page(entry(1, json.dumps(body, ensure_ascii=False)), width=width)
    assert not [char for char in text if not (char.isprintable() or char == "\n")]
    assert "A\\u202eB" in text.replace("\n", "")


def test_the_oldest_stands_first_and_pages_share_their_columns() -> None:
    old, new = entry(2, sent_at=SENT_AT - timedelta(days=1)), entry(1)
    text = page(new, old, width=160)
    assert text.index(old.message_id) < text.index(new.message_id)
    (line,) = (line for line in text.splitlines() if new.message_id in line)
    assert page(new, width=160, header=False).splitlines() == [line]


class Looked:
    """What `remarks` reads of a look and of a queue: these attributes."""

    def __init__(self, why_partial: str, troubles: str) -> None:
        self.why_partial = why_partial
        self.troubles = troubles
        self.name = "dlq"


def remarks(
    several: Listing, why_partial: str = "", task: MoveTask | None = None, troubles: str = ""
) -> str:
    list(several)
    looked: Any = Looked(why_partial, troubles)
    said = look_shown.remarks(several, looked, looked, filtered=True, task=task, now=NOW)
    return "\n".join(said)


def test_remarks_say_what_is_there_and_what_to_do() -> None:
    said = remarks(listing("{}", "x", "{}"))
    assert "3 messages seen, 3 shown: 2 not_ses, 1 not_json." in said
    assert "The first of all expires in 13 d" in said
    assert "`dpp-feedback dlq show ID`" in said
    assert "`dpp-feedback dlq reprocess`" in said
    assert "This is not all" not in said


def test_an_empty_queue_is_one_sentence() -> None:
    assert remarks(listing()) == "The dead-letter queue dlq is empty."


def test_a_queue_that_others_hold_is_not_called_empty() -> None:
    said = remarks(listing(), "2 messages were in flight.")
    assert said.splitlines() == [
        "No message of dlq could be seen.",
        "This is not all: 2 messages were in flight.",
    ]


def test_a_filter_that_matches_nothing_names_what_is_there() -> None:
    said = remarks(listing("{}", "x", selection=Selection.of(reasons=["empty"])))
    assert "No message matches, of 2 messages seen. What is there: 1 not_json, 1 not_ses." in said


def test_a_list_that_is_cut_at_its_limit_says_how_to_see_all() -> None:
    said = remarks(listing("{}", "x", limit=1), "The look was stopped after 1 message.")
    assert "The limit of 1 was reached; --limit 0 shows all." in said
    assert "This is not all" not in said
    assert "The first of these expires" in said
    said = remarks(listing("{}", "x", limit=1), "Stopped. 1 is held.", troubles="1 is held.")
    assert "This is not all: 1 is held." in said


def test_a_limit_that_is_all_there_is_is_not_mentioned() -> None:
    said = remarks(listing("{}", "x", limit=2))
    assert "limit" not in said
    assert "The first of all expires" in said


def test_a_refusal_is_called_what_the_last_run_met() -> None:
    last = "refused_by_database is what the last run met"
    refused = Listing(
        [message(1, BOUNCE)], Selection.of(), refused={ID.format(1)}, retention=RETENTION
    )
    assert last in remarks(refused)
    assert last not in remarks(listing("{}"))


def test_a_piped_list_is_no_wider_than_its_columns_need() -> None:
    console = look_shown.console()  # pytest's standard output is no terminal
    with console.capture() as captured:
        console.print(look_shown.page([entry(1, BOUNCE)], console.width, NOW, header=True))
    assert " " * 40 not in captured.get()


def test_a_running_redrive_is_named() -> None:
    said = remarks(listing("{}"), task=MoveTask("RUNNING", moved=1200))
    assert "A redrive is RUNNING, 1,200 messages moved so far" in said
    assert "redrive" not in remarks(listing("{}"), task=MoveTask("COMPLETED", moved=1200))


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (timedelta(seconds=-5), "0 min"),
        (timedelta(minutes=119), "119 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=47, minutes=59), "47 h"),
        (timedelta(days=13, hours=23), "13 d"),
    ],
)
def test_lengths_of_time_have_one_unit(length: timedelta, said: str) -> None:
    assert look_shown.span(length) == said


def test_times_are_utc() -> None:
    assert entry().sent_at.tzinfo is UTC
