"""Bodies for the fuzz target: real ones, changed where it hurts, carried and damaged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from dpp_feedback_tests.feedback.bodies import (
    PUBLIC_PAYLOADS,
    in_eventbridge,
    in_sns,
    own_payloads,
    payload,
)
from dpp_feedback_tests.feedback.test_parser_hostile import places_of, replaced

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from dpp_feedback_tests.feedback.test_parser_hostile import Place

SECRET = "zq7secret"
"""In the local part of every address that is put in; nothing else holds it."""

_ADDRESSES = (
    f"{SECRET}@private.example",
    f"Jane Doe <{SECRET.upper()}@Private.Example>",
    f'"{SECRET} x"@private.example',
    f"b+{SECRET}=private.example@bounces.example",
    f"rfc822; {SECRET}@private.example",
    f"https://x.example/?u={SECRET}%40private.example",
)
_TEXTS = (
    *("", " ", "\x00", "\ud800", "\udc00\ud800", "\ufeff", "\x7f", "\x85", "\u2028", "\u202e"),
    *("[red]", "[link=https://evil.example]x[/]", "\x1b]8;;https://evil.example\x07", "=1+1"),
    *("<!channel>", "<img src=x>", "![x](https://evil.example)", "$\\frac{", "%s%(x)s{0}", "'; --"),
    *("Bounce", "bounce", "DELIVERY_DELAY", "New Thing", "Notification", "aws.ses", "Received"),
    *("99999-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
    *("2026-02-17T12:00:00Z", "2026-02-30T00:00:00Z", "20260217T120000,5+0030", "\uff10"),
)
_NUMBERS = (0, -1, 2**53 + 1, 2**63, -(2**64), 10**400, 10**4299, 1.5, 1e308, 5e-324, -0.0)
_LENGTHS = (1, 255, 256, 257, 319, 320, 321, 997, 998, 999, 16_384, 65_535, 65_536)
_KEYS = (
    *("Type", "Message", "MessageId", "Timestamp", "TopicArn", "Records", "Sns", "body", "ses"),
    *("detail-type", "detail", "source", "time", "notificationType", "eventType", "mail", "bounce"),
    *("complaint", "delivery", "send", "reject", "failure", "open", "click", "subscription"),
    *("timestamp", "messageId", "feedbackId", "destination", "tags", "ses:configuration-set"),
    *("emailAddress", "bouncedRecipients", "link", "linkTags", "headers", "commonHeaders"),
    *("subject", "SUBJECT", "HTTPServer", "aB" * 200, "@type", "\x00", "\ud800"),
)

_scalars = (
    st.none()
    | st.booleans()
    | st.sampled_from(_NUMBERS)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(_TEXTS)
    | st.sampled_from(_ADDRESSES)
    | st.text(max_size=30)
    | st.builds(str.__mul__, st.sampled_from("aé\U0001f4e7=\\"), st.sampled_from(_LENGTHS))
)
_keys = st.sampled_from(_KEYS) | st.text(max_size=8)


def _nested(levels: int, as_list: bool) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value] if as_list else {"a": value}
    return value


_values: st.SearchStrategy[Any] = (
    st.recursive(
        _scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
        max_leaves=8,
    )
    | st.builds(_nested, st.sampled_from((1, 31, 32, 33, 190, 210)), st.booleans())
    | st.sampled_from((50, 100, 101)).map(lambda n: [f"r{i}@many.example" for i in range(n)])
)


@dataclass(frozen=True, slots=True)
class Body:
    """A message body.

    Attributes:
        text: as SQS would deliver it.
        whole: it is JSON, and every address in it stands as it was put in.
    """

    text: str
    whole: bool


@cache
def real() -> list[dict[str, Any]]:
    """Our own payloads, and other people's where they lie beside the repository."""
    public = [json.loads(path.read_text()) for path in sorted(PUBLIC_PAYLOADS.glob("*.json"))]
    return [*map(payload, own_payloads()), *(body for body in public if isinstance(body, dict))]


@cache
def _places(number: int) -> list[Place]:
    return list(places_of(real()[number]))


@st.composite
def changed(draw: DrawFn) -> Any:
    """A real body with up to three of its values replaced, or keys added; or any JSON."""
    if draw(st.integers(0, 19)) == 0:
        return draw(_values)
    number = draw(st.integers(0, len(real()) - 1))
    body = real()[number]
    # A value may stand where an earlier one has just been replaced: then it is left as it is.
    for place in draw(st.lists(st.sampled_from(_places(number)), max_size=3)):
        try:
            body = replaced(body, place, draw(_values))
        except (KeyError, IndexError, TypeError):
            continue
    more = draw(st.dictionaries(_keys, _values, max_size=2))
    return {**body, **more} if draw(st.booleans()) else body


@st.composite
def carried(draw: DrawFn) -> Any:
    """The same in up to four envelopes."""
    body = draw(changed())
    for way in draw(st.lists(st.integers(0, 7), max_size=4)):
        match way:
            case 0:
                body = in_sns(body)
            case 1:
                body = in_eventbridge(body)
            case 2:
                body = {"Records": [{"Sns": body}]}
            case 3:
                body = {"Records": [{"body": json.dumps(body)}]}
            case 4:
                body = [body] * draw(st.integers(1, 3))
            case 5:
                body = json.dumps(body, ensure_ascii=draw(st.booleans()))
            case 6:
                body = [body, draw(changed())]
            case 7:
                body = in_sns(body, **draw(st.dictionaries(_keys, _values, max_size=2)))
    return body


@st.composite
def bodies(draw: DrawFn) -> Body:
    """The same as text; one in six is damaged."""
    if draw(st.integers(0, 49)) == 0:
        return Body(draw(st.text(max_size=200)), whole=False)
    body = draw(carried())
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=draw(st.booleans()))
    if draw(st.integers(0, 9)) == 0:
        text = "\n".join([text, json.dumps(draw(changed())), *([text] * draw(st.integers(0, 3)))])
    damage = draw(st.integers(0, 23))
    if damage > 3:
        return Body(text, whole=True)
    start, end = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
    if damage == 0:
        text = text[:end]
    elif damage == 1:
        text = text[:start] + text[end:]
    elif damage == 2:
        text = text[:start] + draw(st.sampled_from(_TEXTS)) + text[start:]
    else:
        text = text[:end] + text[start:]
    return Body(text, whole=False)
