"""Addresses are hidden wherever and however they stand in a text, and JSON stays JSON."""

from __future__ import annotations

import json
from html import unescape
from quopri import decodestring
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpp_feedback.masking import masked
from dpp_feedback_tests.feedback.bodies import (
    PUBLIC_PAYLOADS,
    in_eventbridge,
    in_sns,
    own_payloads,
    payload,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jane@example.com", "j***@example.com"),
        ("a@b.example", "a***@b.example"),
        ("Jane Doe <jane.doe+x@example.com>", "Jane Doe <j***@example.com>"),
        (
            "jane@a.example,bob@b.example;eve@c.example",
            "j***@a.example,b***@b.example;e***@c.example",
        ),
        ("smtp; 550 rfc822;jane@example.com", "smtp; 550 rfc822;j***@example.com"),
        ("bounce+jane=example.com@x.example", "b***@x.example"),
        ("SRS0=ab=cd=example.com=jane@x.example", "S***@x.example"),
        ("jane%example.com@relay.example", "j***@relay.example"),
        ("/G=Jane/S=Doe/@gateway.example", "***@gateway.example"),
        ("jane@exam", "j***@exam"),
        ("jane@", "j***@"),
        ("jane@example.com@x.example", "j***@e***@x.example"),
        ("jörg@straße.example", "j***@straße.example"),
        ("陳@例え.jp", "陳***@例え.jp"),
        ("jane＠example.com", "j***＠example.com"),  # noqa: RUF001
        ("jane%40example.com", "j***%40example.com"),
        ("jane%2540example.com", "j***%2540example.com"),
        ("jane=40example.com", "j***=40example.com"),
        ("jane&#64;example.com", "j***&#64;example.com"),
        ("jane&#x40;example.com", "j***&#x40;example.com"),
        ("jane&commat;example.com", "j***&commat;example.com"),
        ("jane&amp;#64;example.com", "j***&amp;#64;example.com"),
        (r"jane\u0040example.com", r"j***\u0040example.com"),
        (r"jane\U0040example.com", r"j***\U0040example.com"),
        (r"jane\U00000040example.com", r"j***\U00000040example.com"),
        (r"jane\u{40}example.com", r"j***\u{40}example.com"),
        (r"jane\@example.com", r"j***\@example.com"),
        (r"jane\u00", r"j***\u00"),
        (r"jane\\u", r"j***\\u"),
        ("jane%u0040example.com", "j***%u0040example.com"),
        (r"jane\x40example.com", r"j***\x40example.com"),
        (r"jane\\\\u0040example.com", r"j***\\\\u0040example.com"),
        (r"jane\u0026#64;example.com", r"j***\u0026#64;example.com"),
        (r"jane\u003d40example.com", r"j***\u003d40example.com"),
        (r"\u003cjane@example.com\u003e", r"\u003cj***@example.com\u003e"),
        (r"\\u003cjane@example.com\\u003e", r"\\u003cj***@example.com\\u003e"),
        (r"j\u00f6rg@example.com", r"j***@example.com"),
        (r"\u00f6rg@example.com", r"***@example.com"),
        (r"\ud83d\ude00jane@example.com", r"***@example.com"),
        (r"\u006aane@example.com", r"***@example.com"),
        (r"a\/jane@example.com", r"a***@example.com"),
        (r"To:\njane@example.com", r"To:\n***@example.com"),
        (r"To:\t\"jane@example.com\"", r"To:\t\"j***@example.com\""),
        ('"jane doe"@example.com', '"j***"@example.com'),
        (r"\"jane doe\"@example.com", r"\"j***\"@example.com"),
        (r"\"ja\\\"ne doe\"@example.com", r"\"j***\"@example.com"),
        (r"\\\"jane doe\\\"@example.com", r"\\\"j***\\\"@example.com"),
        (r"\u0022jane doe\u0022@example.com", r"\u0022j***\u0022@example.com"),
        ("&quot;jane doe&quot;@example.com", "&quot;j***&quot;@example.com"),
        ("'jane'@example.com", "***@example.com"),
    ],
)
def test_every_spelling_of_an_address_is_hidden(text: str, expected: str) -> None:
    assert masked(text) == expected
    assert masked(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"@type":"b","c":["x","@y"],"d":{"e":"f"} , "@g":"h"}',
        r"{\"a\":\"b\",\n  \"@type\":[\"x\", \"@y\"]}",
        r'{"Message":"{\u0022a\u0022:\u0022b\u0022,\u0022@type\u0022:1}"}',
        "no address at all, 4 @ 5, 100%, a=b, R&D",
        "arn:aws:sns:eu-west-1:111122223333:feedback",
        "",
    ],
)
def test_what_is_no_address_stays(text: str) -> None:
    assert masked(text) == text


LETTERS = "abcdefghijklmnopqrstuvwxyzABCZ0189"
local_parts = st.one_of(
    st.text(LETTERS + ".+-_=/'!#$%&?^`{|}~" + "öß陳😀", min_size=2, max_size=20),
    st.text(LETTERS + " .@<>ö" + '"\\', min_size=2, max_size=20).map(
        lambda text: '"x' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    ),
)
domains = st.sampled_from(["example.com", "163.example", "x", "straße.example", "[192.0.2.1]"])
addresses = st.builds(lambda local, domain: f"{local}@{domain}", local_parts, domains)
around = st.text(LETTERS + ' <>"\\,:;()[]{}\n\tö', max_size=8)


def _slashed(text: str) -> str:
    return json.dumps(text).replace("/", "\\/")


def _safe_for_html(text: str) -> str:
    escaped = json.dumps(text, ensure_ascii=False)
    for char in "<>&=@'":
        escaped = escaped.replace(char, f"\\u{ord(char):04x}")
    return escaped


JSON_WRITERS: list[Callable[[str], str]] = [
    json.dumps,
    lambda text: json.dumps(text, ensure_ascii=False),
    lambda text: json.dumps({"Type": "Notification", "Message": text}, indent=1),
    lambda text: json.dumps(["a", {"@type": text}, "@b"]),
    _slashed,
    _safe_for_html,
]


def texts_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.items() for text in texts_in(list(item))]
    if isinstance(value, list):
        return [text for item in value for text in texts_in(item)]
    return [value] if isinstance(value, str) else []


@settings(deadline=None, max_examples=500)
@given(
    st.lists(addresses, min_size=1, max_size=3),
    st.sampled_from([" ", ", ", "\n", ">, <", '"', ";"]),
    st.lists(st.sampled_from(JSON_WRITERS), max_size=4),
)
def test_no_address_survives_in_any_depth_of_json(
    listed: list[str], between: str, writers: list[Callable[[str], str]]
) -> None:
    text = f"<{between.join(listed)}>"
    for write in writers:
        text = write(text)
    hidden = masked(text)
    assert masked(hidden) == hidden
    inner = [hidden]
    for _ in writers:  # JSON stays JSON, at each depth
        inner = [found for layer in inner for found in texts_in(_loaded(layer))]
        assert inner
    for address in listed:
        assert all(address not in layer for layer in (hidden, *inner))


@settings(deadline=None, max_examples=500)
@given(
    st.text("abcnrtu01J.+-", min_size=2, max_size=8),
    st.text('abnu026 <>"\\,:;()[]{}\n\tö@=%&*', max_size=8),
    st.text('abnu026 <>"\\,:;()[]{}\n\tö@=%&*', max_size=8),
    st.lists(st.sampled_from(JSON_WRITERS[:4]), max_size=3),
)
def test_no_address_survives_whatever_stands_around_it(
    local: str, before: str, after: str, writers: list[Callable[[str], str]]
) -> None:
    address = f"{local}@example.com"
    text = before + address + after
    for write in writers:
        text = write(text)
    inner = [masked(text)]
    assert address not in inner[0]
    for _ in writers:
        inner = [found for layer in inner for found in texts_in(_loaded(layer))]
        assert not any(address in layer for layer in inner)


def _loaded(layer: str) -> Any:
    try:
        return json.loads(layer)
    except ValueError:
        assert layer in {"a", "b", "@b", "@type", "Type", "Notification", "Message"}, layer
        return layer


@settings(deadline=None, max_examples=300)
@given(st.text(LETTERS + ".+-_öß陳", min_size=2, max_size=20), around, around)
def test_no_address_survives_in_urls_mails_and_html(local: str, before: str, after: str) -> None:
    address = f"{local}@example.com"
    url = f"{before}\u0020https://x.example/?to={quote(address, safe='')}&{after}"
    assert address not in unquote(masked(url))
    printable = address.encode().replace(b"=", b"=3D").replace(b"@", b"=40").decode()
    assert address not in decodestring(masked(f"{before} {printable} {after}").encode()).decode()
    for at in ("&#64;", "&#x40;", "&commat;", "&#064;"):
        hidden = masked(f"{before}<p>{local}{at}example.com</p>{after}")
        assert address not in unescape(hidden)


@settings(deadline=None, max_examples=500)
@given(st.text(LETTERS[:4] + '\\"@=%&u0426;:,[]{} \n*<' + "ö", max_size=60))
def test_masking_twice_is_masking_once(text: str) -> None:
    assert masked(masked(text)) == masked(text)


json_values = st.recursive(
    st.none() | st.integers() | st.text(LETTERS[:4] + '@"\\ *:,=%&\u2028', max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text('a@"\\:,', max_size=4), inner, max_size=3)
        | inner.map(json.dumps)
    ),
    max_leaves=10,
)


@settings(deadline=None, max_examples=500)
@given(json_values, st.booleans(), st.sampled_from([None, 1]))
def test_json_stays_json_of_the_same_shape(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert type(json.loads(masked(text))) is type(value)


@pytest.mark.parametrize(
    "body",
    [payload(name) for name in own_payloads()],
    ids=own_payloads(),
)
def test_our_own_bodies_keep_their_shape_and_no_recipient(body: dict[str, Any]) -> None:
    destination = body.get("mail", {}).get("destination", [])
    for carried in (body, in_sns(body), in_eventbridge(body), in_sns(in_sns(body))):
        hidden = masked(json.dumps(carried))
        assert json.loads(hidden).keys() == carried.keys()
        assert not any(address in hidden for address in destination)


@pytest.mark.parametrize("path", sorted(PUBLIC_PAYLOADS.glob("*.json")), ids=lambda path: path.stem)
def test_public_bodies_stay_json(path: Path) -> None:
    hidden = masked(path.read_text())
    json.loads(hidden)
    assert "recipient@example.com" not in hidden
    assert "jane@example.com" not in hidden


@pytest.mark.parametrize(
    "part",
    [
        *("a@", "a", "\\", '"', '\\"', '"\\', "%", "=4", "&", "&amp;", "&quot;", '"a', "\\n"),
        *("\\u0022", "\\u0026", "\\u0040", "\\u003c", '\\\\"a', "a%25", " ", '"@', '"' + "\\" * 31),
    ],
)
def test_a_megabyte_of_what_nearly_is_an_address_takes_linear_time(part: str) -> None:
    """Quadratic time would be hours here."""
    text = part * (1024 * 1024 // len(part))
    assert len(masked(text)) <= len(text) * 3
