"""Bodies nobody should send: every one has a clear outcome, in bounded size, and nothing leaks.

Arbitrary bodies and every wrong value at every place of real ones. Where exactly the limits lie is
tested in test_parser_bounds.py.
"""

from __future__ import annotations

import json
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpp_feedback.feedback.events import FeedbackEvent, Ignored, Rejected
from dpp_feedback.feedback.parser import MAX_TYPE_DATA, parse
from dpp_feedback_tests.feedback.bodies import (
    PAYLOADS,
    PUBLIC_PAYLOADS,
    SENT_AT,
    in_eventbridge,
    in_sns,
    own_payloads,
    payload,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dpp_feedback.feedback.events import Outcome

    Place = tuple[str | int, ...]

SECRET = "secret@private.example"
KEYS = [
    *("Type", "Message", "Records", "Sns", "body", "ses", "detail-type", "detail", "mail"),
    *("notificationType", "eventType", "bounce", "timestamp", "messageId", "subject"),
]
PRIVATE_KEYS = {"headers", "common_headers", "subject"}

modest = settings(deadline=None, max_examples=300)
strings = st.text(max_size=40) | st.sampled_from(["\x00", "\ud800", "\udc00\ud800", SECRET, "<>"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | strings,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            strings | st.sampled_from(KEYS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


def check(body: str | bytes) -> Outcome:
    """Parse a body and hold the promises that every outcome makes."""
    outcome = parse(body, SENT_AT)
    if isinstance(outcome, Rejected):
        assert outcome.reason not in {"parser_error", "refused_by_database"}, outcome
    if isinstance(outcome, Ignored | Rejected):
        assert len(outcome.detail) < 200
        assert SECRET not in outcome.detail
    found = outcome if isinstance(outcome, tuple) else getattr(outcome, "events", ())
    for event in found:
        check_event(event)
    return outcome


def check_event(event: FeedbackEvent) -> None:
    """What Postgres and the rest of the house rely on."""
    type_data = json.dumps(event.type_data, ensure_ascii=False, allow_nan=False)
    assert len(type_data.encode()) <= MAX_TYPE_DATA * 1.1  # json.dumps puts spaces in
    assert "\\u0000" not in type_data
    assert not PRIVATE_KEYS & set(keys_of(event.type_data))
    assert event.event_at.tzinfo is not None
    for text in (event.ses_message_id, event.dedupe_key, event.primary_recipient, event.source):
        assert text is None or (text.encode() and "\x00" not in text and len(text) < 600)


def keys_of(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key not in {"tags", "link_tags"}:  # whose keys are the sender's
                yield from keys_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner)


def places_of(value: object, here: Place = ()) -> Iterator[Place]:
    if here:
        yield here
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield from places_of(inner, (*here, key))


def replaced(body: dict[str, Any], place: Place, value: object) -> dict[str, Any]:
    changed = deepcopy(body)
    holder: Any = changed
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return changed


@cache
def every_place() -> list[tuple[str, Place]]:
    return [(name, place) for name in own_payloads() for place in places_of(payload(name))]


WRONG: list[object] = [
    *(None, True, 0, -1, 1.5, 10**400, "", " ", [], {}, [[]], [None], [{}], {"": None}),
    *("\x00", "\ud800", "a" * 1000, SECRET, [SECRET], {SECRET: SECRET}, {"subject": SECRET}),
    *({"emailAddress": 7}, [SECRET] * 101, float("nan"), float("inf")),
]


@modest
@given(st.binary(max_size=200))
def test_any_bytes_have_an_outcome(body: bytes) -> None:
    assert check(body) is not None


@modest
@given(strings)
def test_any_text_has_an_outcome(body: str) -> None:
    assert check(body) is not None


@modest
@given(json_values)
def test_any_json_has_an_outcome_in_every_envelope(value: object) -> None:
    text = json.dumps(value)
    for body in (value, in_sns(value), in_eventbridge(value), [value, value], {"Records": [value]}):
        assert check(json.dumps(body)) is not None
    assert check(f"{text}\n{text}") is not None


@modest
@given(st.data(), json_values)
def test_any_json_at_any_place_of_a_body_has_an_outcome(data: st.DataObject, new: object) -> None:
    name, place = data.draw(st.sampled_from(every_place()))
    assert check(json.dumps(replaced(payload(name), place, new))) is not None


@pytest.mark.parametrize("name", own_payloads())
def test_every_wrong_value_at_every_place_of_our_bodies_has_an_outcome(name: str) -> None:
    check_mutations(PAYLOADS / f"{name}.json", WRONG)


@pytest.mark.parametrize("path", sorted(PUBLIC_PAYLOADS.glob("*.json")), ids=lambda path: path.stem)
def test_wrong_values_at_every_place_of_public_bodies_have_an_outcome(path: Path) -> None:
    check_mutations(path, [None, 7, SECRET, "\x00", [SECRET], {SECRET: 1}])


def check_mutations(path: Path, values: list[object]) -> None:
    body = json.loads(path.read_text())
    places = list(places_of(body))
    assert places
    for place in places:
        for value in values:
            check(json.dumps(replaced(body, place, value)))


@pytest.mark.parametrize("name", own_payloads())
def test_a_body_that_breaks_off_anywhere_is_rejected(name: str) -> None:
    text = json.dumps(payload(name))
    for length in range(0, len(text), 7):
        assert isinstance(check(text[:length]), Rejected)
