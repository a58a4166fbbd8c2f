"""What must hold of any body at all: the fuzz target, over everything that reads one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dpp_feedback.explain import explain
from dpp_feedback.feedback.events import (
    FeedbackEvent,
    Ignored,
    IgnoredReason,
    Rejected,
    RejectedReason,
)
from dpp_feedback.feedback.glance import events_of, glance, topic_of
from dpp_feedback.feedback.parser import MAX_EVENTS, MAX_TYPE_DATA, parse
from dpp_feedback.feedback.values import MAX_ADDRESS, MAX_TEXT
from dpp_feedback.masking import masked
from dpp_feedback.messages import encoded
from dpp_feedback.show import explanation
from dpp_feedback_tests.feedback.bodies import SENT_AT
from dpp_feedback_tests.feedback.test_parser_hostile import PRIVATE_KEYS, keys_of
from dpp_feedback_tests.hostile.bodies import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback_tests.hostile.bodies import Body

_DETAIL = 300  # characters
_NESTED = 34  # levels: those of details, the row's own object, and one for tags
_OURS = {RejectedReason.PARSER_ERROR, RejectedReason.REFUSED_BY_DATABASE}


def check(body: Body) -> tuple[FeedbackEvent, ...]:
    """Read a body in every way, hold all promises, and return its events."""
    text = body.text
    outcome = parse(text, SENT_AT)
    assert parse(text, SENT_AT) == outcome
    assert parse(encoded(text), SENT_AT) == outcome
    if isinstance(outcome, Ignored | Rejected):
        _check_words(outcome)
    found = events_of(outcome)
    assert len(found) <= MAX_EVENTS
    for event in found:
        _check_event(event)
    _check_glance(text, found)
    _check_explanation(text)
    _check_masking(body)
    return found


def _check_words(outcome: Ignored | Rejected) -> None:
    """A reason is one of ours, and a detail a line that quotes nothing."""
    assert type(outcome.reason) in {IgnoredReason, RejectedReason}
    assert outcome.reason not in _OURS, outcome
    assert 0 < len(outcome.detail) <= _DETAIL
    assert outcome.detail.isprintable()
    assert "@" not in outcome.detail
    assert SECRET not in outcome.detail.lower()


def _check_event(event: FeedbackEvent) -> None:
    """A row is such as Postgres takes and everything behind it relies on."""
    texts = {
        "notification_type": MAX_TEXT,
        "ses_message_id": MAX_TEXT,
        "feedback_id": MAX_TEXT,
        "source": MAX_ADDRESS,
        "primary_recipient": MAX_ADDRESS,
        "bounce_type": MAX_TEXT,
        "bounce_sub_type": MAX_TEXT,
        "configuration_set": MAX_TEXT,
        "sns_message_id": MAX_TEXT,
        "dedupe_key": 2 * MAX_TEXT + 18,
    }
    for name, longest in texts.items():
        value = getattr(event, name)
        assert value is None or 0 < len(value) <= longest, name
        assert value is None or (value.encode() and not any(map(_is_control, value))), name
    assert event.notification_type
    assert event.dedupe_key.startswith(f"{event.feedback_id or event.ses_message_id}:")
    assert (event.event_at.utcoffset() or SENT_AT - SENT_AT).total_seconds() == 0
    assert event.event_at.tzinfo is not None
    stored = json.dumps(event.type_data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    assert len(stored.encode()) <= MAX_TYPE_DATA
    assert "\\u0000" not in stored.replace("\\\\", "")
    assert _levels(event.type_data) <= _NESTED
    assert not PRIVATE_KEYS & set(keys_of(event.type_data))


def _check_glance(text: str, found: tuple[FeedbackEvent, ...]) -> None:
    seen = glance(text, SENT_AT)
    assert list(seen.kinds) == sorted(set(seen.kinds))
    assert len(seen.kinds) <= 100
    assert len(seen.kinds) == 100 or {event.notification_type for event in found} <= set(seen.kinds)
    assert seen.topic_arn == topic_of(text)
    assert seen.topic_arn is None or (seen.topic_arn.isascii() and len(seen.topic_arn) < 400)


def _check_explanation(text: str) -> None:
    """It says what the parser says, is JSON, and steers no terminal."""
    explained = explain(text, SENT_AT)
    written: dict[str, Any] = json.loads(json.dumps(explained.as_json(), allow_nan=False))
    outcome = parse(text, SENT_AT)
    assert (explained.outcome == "events") is isinstance(outcome, tuple)
    rows = [event for record in written["records"] for event in record["events"]]
    assert {row["dedupe_key"] for row in rows} >= {one.dedupe_key for one in events_of(outcome)}
    console = Console(width=100, force_terminal=False, color_system=None)
    with console.capture() as shown:
        console.print(explanation(explained, mask=True))
    for char in set(shown.get()):
        assert char.isprintable() or char == "\n", f"U+{ord(char):04X}"


def _check_masking(body: Body) -> None:
    hidden = masked(body.text)
    assert masked(hidden) == hidden
    if body.whole:
        assert SECRET not in hidden.lower()


def _is_control(char: str) -> bool:
    return char < " " or "\x7f" <= char <= "\x9f"


def _levels(value: object) -> int:
    """How deep objects and lists are nested."""
    return max(_depths(value, 0))


def _depths(value: object, above: int) -> Iterator[int]:
    yield above
    inner: Any = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list):
        for item in inner:
            yield from _depths(item, above + 1)
