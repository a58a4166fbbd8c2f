"""Reading single values of untrusted JSON: text, addresses, times, free-form details.

Each function returns a clean value or raises `Refused`. What the values mean is parser.py's
business.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dpp_feedback.feedback.events import RejectedReason

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

MAX_TEXT = 256  # identifiers and type names; SES's ids have about 60 characters
MAX_ADDRESS = 320  # RFC 5321, 4.5.3.1: 64 for the local part, "@", 255 for the domain
MAX_NESTING = 32  # levels of details; SES's own have 4
MAX_VALUES = 32 * 1024  # of details: as many need more than the 64 KiB of a row ("1,")
_MAX_MAILBOX = 998  # RFC 5322, 2.1.1: no line of a header is longer, display name and all

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# The address of `Display Name <local@domain>`; a quoted local part may itself hold < and >.
_ANGLE = re.compile(r'<((?:"(?:[^"\\]|\\.)*"|[^<>"])+)>\s*$')
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PRIVATE = frozenset({"headers", "common_headers", "subject"})  # never kept, at any depth
_USER_KEYED = frozenset({"tags", "link_tags"})  # their keys are the sender's: kept as they are
_JSON_NAMES = {dict: "an object", list: "a list", str: "text", bool: "true or false"}


class Refused(Exception):
    """A value that cannot be used; the parser turns it into `Rejected`."""

    def __init__(self, reason: RejectedReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def wrong_type(where: str, value: object, expected: str) -> Refused:
    """Say that `where` holds another type than `expected`, without quoting the value."""
    got = "null" if value is None else _JSON_NAMES.get(type(value), "a number")
    return Refused(RejectedReason.WRONG_TYPE, f"{where} is {got}, expected {expected}")


def text(holder: Mapping[str, Any], key: str, where: str) -> str | None:
    """Read an identifier or a type name: at most 256 characters, none of them a control.

    Returns:
        The text verbatim; None when it is missing, null or empty.

    Raises:
        Refused: it is no text, too long, or holds a control character.
    """
    value = holder.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise wrong_type(f"{where}.{key}", value, "text")
    return _clean(value, f"{where}.{key}", MAX_TEXT)


def address(value: object, where: str) -> str:
    """Read a mail address: lower case, without display name; otherwise as SES sent it.

    Quoted local parts and internationalised domains survive, and so does a recipient that is no
    valid address: SES reports what the receiving server said.

    Raises:
        Refused: it is no text, empty, too long, or holds a control character.
    """
    if not isinstance(value, str):
        raise wrong_type(where, value, "a mail address")
    mailbox = _clean(value.strip(), where, _MAX_MAILBOX)
    if mailbox.endswith(">") and (angle := _ANGLE.search(mailbox)):
        mailbox = angle[1].strip()
    lower = mailbox.lower()
    # The text that came, where it is the same: one for all events of a source.
    return _clean(mailbox if lower == mailbox else lower, where, MAX_ADDRESS)


def instant(value: object) -> datetime | None:
    """Read an ISO 8601 time, whatever its offset or precision; without offset it is UTC.

    Returns:
        Aware, in UTC, to the microsecond. None when it is missing or no such time.
    """
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        moment = datetime.fromisoformat(value.strip().upper())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):  # the second: year 1 or 9999 and an offset
        return None


def details(value: Mapping[str, Any], leave_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Copy a free-form JSON object: keys in snake_case, without nulls, headers and subjects.

    NUL characters become U+FFFD: they stand in text a remote mail server wrote, where the meaning
    is certain without them, and Postgres's jsonb cannot hold them.

    Args:
        value: the object.
        leave_out: its own keys that have a column of their own.

    Raises:
        Refused: it is nested more than 32 levels deep, has more than 32,768 values, or holds a
            number that JSON databases cannot (1e999).
    """
    return _details(value, leave_out, MAX_NESTING, iter(range(MAX_VALUES)))


def _details(
    value: Mapping[str, Any], leave_out: Container[str], levels: int, left: Iterator[int]
) -> dict[str, Any]:
    return {
        name: _copy(item, name in _USER_KEYED, levels, left)
        for key, item in value.items()
        if key not in leave_out and item is not None and (name := _snake_case(key)) not in _PRIVATE
    }


def _copy(value: Any, verbatim: bool, levels: int, left: Iterator[int]) -> Any:
    # Before the copy, not after it: a megabyte of empty lists takes seconds.
    if next(left, None) is None:
        detail = f"the details have more than {MAX_VALUES} values"
        raise Refused(RejectedReason.TOO_LARGE, detail)
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, (dict, list)):
        if levels == 0:
            detail = f"the details are nested more than {MAX_NESTING} levels deep"
            raise Refused(RejectedReason.TOO_LARGE, detail)
        if isinstance(value, list):
            return [_copy(item, verbatim, levels - 1, left) for item in value]
        if not verbatim:
            return _details(value, (), levels - 1, left)
        return {
            k.replace("\x00", "\ufffd"): _copy(v, True, levels - 1, left) for k, v in value.items()
        }
    if isinstance(value, float) and not math.isfinite(value):
        raise Refused(RejectedReason.NOT_JSON, "a number is too large")
    return value


def _clean(value: str, where: str, longest: int) -> str:
    if not value:
        raise Refused(RejectedReason.BAD_TEXT, f"{where} is empty")
    if len(value) > longest:
        raise Refused(
            RejectedReason.BAD_TEXT, f"{where} has {len(value)} characters, at most {longest}"
        )
    if not value.isprintable() and _CONTROL.search(value):  # the first costs a tenth
        raise Refused(RejectedReason.BAD_TEXT, f"{where} holds a control character")
    return value


def _snake_case(key: str) -> str:
    return _cached_snake_case(key) if len(key) <= MAX_TEXT else _cached_snake_case.__wrapped__(key)


@lru_cache(maxsize=1024)  # SES uses about 60 keys; bounded, since a body may hold any
def _cached_snake_case(key: str) -> str:
    return _WORD_START.sub("_", key).lower().replace("\x00", "\ufffd")
