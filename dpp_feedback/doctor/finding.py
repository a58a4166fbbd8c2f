"""What a check finds, and in which words it is told. Nothing is looked at here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Verdict = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: what was looked at, in a few words.
        verdict: "warn" where the product works all the same, or nobody may say.
        found: a sentence without keys, passwords and mail addresses.
        next_step: what to do about it. Empty where it passed, and where `found` is the sentence
            of an error, which says it already.
    """

    check: str
    verdict: Verdict
    found: str
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """A look at one thing, on its own: what stops it, stops no other.

    Attributes:
        area: the heading that its findings stand under.
        check: what is looked at; the name of the finding when the look itself fails.
        look: makes the findings, one by one.
        unknown: what it means when the look fails: "warn" where the product works without the
            call that was refused.
    """

    area: str
    check: str
    look: Callable[[], Iterable[Finding]] = field(repr=False)
    unknown: Verdict = "fail"


def passed(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, "pass", found)


def warned(check: str, found: str, next_step: str) -> Finding:
    """It works, but not as it should; or nobody may say."""
    return Finding(check, "warn", found, next_step)


def failed(check: str, found: str, next_step: str) -> Finding:
    """It does not work."""
    return Finding(check, "fail", found, next_step)
