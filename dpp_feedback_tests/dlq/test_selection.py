"""Which messages a filter means, what it refuses, and what a record of it says."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dpp_feedback.dlq.listing import Entry
from dpp_feedback.dlq.reasons import IGNORED, READABLE, REASONS, reason_now
from dpp_feedback.dlq.selection import Selection, SelectionError
from dpp_feedback.feedback.events import RejectedReason
from dpp_feedback.feedback.glance import glance
from dpp_feedback.queue import Message
from dpp_feedback_tests.feedback.bodies import SENT_AT, payload

CONTROL = json.dumps({"notificationType": "AmazonSnsSubscriptionSucceeded"})


def message(body: object = "{}", **changes: Any) -> Message:
    text = body if isinstance(body, str) else json.dumps(body)
    return replace(Message("id-1", SENT_AT, 1, text, "handle"), **changes)


BOUNCE = message(payload("event_bounce"))


@pytest.mark.parametrize(
    ("body", "refused", "reason"),
    [
        ("{}", (), "not_ses"),
        ("{}", ("id-1",), "not_ses"),  # the parser comes before the database
        (BOUNCE.body, (), READABLE),
        (BOUNCE.body, ("id-1",), "refused_by_database"),
        (BOUNCE.body, ("id-2",), READABLE),
        (CONTROL, (), IGNORED),
    ],
)
def test_a_message_has_one_reason(body: str, refused: tuple[str, ...], reason: str) -> None:
    assert reason_now(glance(body, SENT_AT), "id-1", refused) == reason


def test_every_reason_of_the_parser_can_be_chosen() -> None:
    assert set(REASONS) == {*RejectedReason, READABLE, IGNORED}
    assert Selection.of(reasons=REASONS).reasons == set(REASONS)


def test_no_filter_means_everything_and_reads_no_body() -> None:
    nothing = Selection.of()
    assert nothing.everything
    assert not nothing.needs_parsing
    assert nothing.matches(message(), ())
    assert nothing.as_json() == {}
    assert not nothing.finished(10_000)


@pytest.mark.parametrize(
    ("chosen", "meant"),
    [
        ({"reasons": ["readable"]}, True),
        ({"reasons": ["Not-SES", " readable "]}, True),
        ({"reasons": ["not_ses"]}, False),
        ({"kinds": ["bounce"]}, True),
        ({"kinds": ["Open", "BOUNCE"]}, True),
        ({"kinds": ["Open"]}, False),
        ({"kinds": ["Something New"]}, False),
        ({"reasons": ["readable"], "kinds": ["Open"]}, False),
        ({"message_ids": ["id-1", "id-2"]}, True),
        ({"message_ids": ["id-2"]}, False),
        ({"received_after": SENT_AT}, True),
        ({"received_after": SENT_AT + timedelta(seconds=1)}, False),
        ({"received_before": SENT_AT}, False),
        ({"received_before": SENT_AT + timedelta(seconds=1)}, True),
    ],
)
def test_a_message_is_meant_when_every_filter_means_it(chosen: dict[str, Any], meant: bool) -> None:
    selection = Selection.of(**chosen)
    assert not selection.everything
    assert selection.matches(BOUNCE, ()) is meant


def test_what_the_database_refused_is_found_by_its_id() -> None:
    refused = Selection.of(reasons=["refused_by_database"])
    assert refused.matches(BOUNCE, {"id-1"})
    assert not refused.matches(BOUNCE, {"id-2"})


def test_a_kind_is_found_in_any_spelling_that_ses_uses_and_in_a_broken_body() -> None:
    failed = message('{"eventType":"Rendering Failure","mail":')
    for spelling in (
        "Rendering Failure",
        "RenderingFailure",
        "RENDERING_FAILURE",
        "Email Rendering Failed",
    ):
        assert Selection.of(kinds=[spelling]).matches(failed, ())


def test_an_unknown_kind_is_found_as_it_is_and_as_a_list_shows_it() -> None:
    body = payload("event_bounce") | {"eventType": "jane@example.com"}
    odd = message(body)
    assert glance(odd.body, SENT_AT).kinds == ("jane@example.com",)
    for written in ("jane@example.com", "J***@example.com"):
        selection = Selection.of(kinds=[written])
        assert selection.matches(odd, ())
        assert selection.matches_content(READABLE, Entry.of(odd, (), timedelta(days=14)).kinds)
        assert not selection.matches(BOUNCE, ())


def test_a_record_of_a_filter_names_no_address() -> None:
    written = Selection.of(kinds=["jane@example.com"], message_ids=["jane@example.com"])
    assert written.as_json() == {"kinds": ["j***@example.com"], "message_ids": ["j***@example.com"]}


def test_only_a_filter_by_id_can_be_finished_early() -> None:
    two = Selection.of(message_ids=["a", "b", "a"])
    assert [two.finished(found) for found in (0, 1, 2, 3)] == [False, False, True, True]
    assert not Selection.of(kinds=["Open"]).finished(100)


@pytest.mark.parametrize(
    "written", ["2026-02-17T08:30:00", "2026-02-17T08:30Z", "2026-02-17T17:30:00+09:00"]
)
def test_a_time_without_zone_is_utc(written: str) -> None:
    expected = datetime(2026, 2, 17, 8, 30, tzinfo=UTC)
    assert Selection.of(received_after=written).received_after == expected
    assert Selection.of(received_after=expected) == Selection.of(received_after=written)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"reasons": ["not_jason"]}, r"'not_jason' is no reason. Did you mean not_json\?"),
        ({"reasons": ["qqq"]}, "'qqq' is no reason. The reasons are empty, not_text"),
        ({"received_after": "yesterday"}, "received_after is 'yesterday', no time"),
        ({"received_before": "0001-01-01T00:00+09:00"}, "received_before is"),
        (
            {"received_after": "2026-02-18", "received_before": "2026-02-18T00:00:00Z"},
            "no message lies between",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(chosen: dict[str, Any], said: str) -> None:
    with pytest.raises(SelectionError, match=said):
        Selection.of(**chosen)


@pytest.mark.parametrize("name", ["reasons", "kinds", "message_ids"])
@pytest.mark.parametrize("values", [[""], [" \t"], ["readable", ""]])
def test_a_blank_value_is_refused_and_never_means_all(name: str, values: list[str]) -> None:
    with pytest.raises(SelectionError, match=f"{name} has an empty value"):
        Selection.of(**dict[str, Any]({name: values}))


def test_a_record_says_only_what_is_set_and_reads_back_the_same() -> None:
    selection = Selection.of(
        reasons=["readable", "ignored"],
        kinds=["open"],
        message_ids=["b", "a"],
        received_before="2026-02-18T00:00:00Z",
    )
    assert selection.as_json() == {
        "reasons": ["ignored", "readable"],
        "kinds": ["Open"],
        "message_ids": ["a", "b"],
        "received_before": "2026-02-18T00:00:00+00:00",
    }
    assert Selection.of(**json.loads(json.dumps(selection.as_json()))) == selection
