"""An alert, and the message about it. Values only."""

# No `from __future__ import annotations`: pydantic reads these annotations at run time (memory.py).

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

RUNBOOK = "docs/runbook.md"


class Severity(StrEnum):
    """How urgent it is."""

    WARNING = "warning"  # look at it today
    CRITICAL = "critical"  # look at it now


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that is wrong at this moment.

    Attributes:
        key: what it is ("dlq_has_messages"); the section of the runbook, up to a ":".
        severity: how urgent.
        cause: what is wrong: sentences.
        figure: the number behind it, with its unit.
        next_step: what to do: a sentence.
        told: people know already, so it only has to be followed until it ends.
    """

    key: str
    severity: Severity
    cause: str
    figure: str
    next_step: str
    told: bool = False

    @property
    def section(self) -> str:
        """Where the runbook tells about it."""
        return f"{RUNBOOK}#{self.key.partition(':')[0]}"


class Occasion(StrEnum):
    """Why there is a message."""

    BEGINS = "begins"
    WORSE = "has become critical"
    STILL = "goes on"
    OVER = "is over"


@dataclass(frozen=True, slots=True)
class Notice:
    """One message about one alert.

    Attributes:
        occasion: why it is sent.
        alert: as it is now; for `OVER`, as it was last.
        since: when it began.
        at: now; for `OVER`, when it ended.
    """

    occasion: Occasion
    alert: Alert
    since: datetime
    at: datetime

    @property
    def headline(self) -> str:
        """One line, up to 200 characters: a subject."""
        lasted = in_words(self.at - self.since)
        match self.occasion:
            case Occasion.OVER:
                head = f"Recovered after {lasted}"
            case Occasion.STILL:
                head = f"Still {self.alert.severity} after {lasted}"
            case Occasion.WORSE:
                head = "Now critical"
            case Occasion.BEGINS:
                head = self.alert.severity.capitalize()
        return _short(f"{head}: {self.alert.cause}", 200)

    @property
    def text(self) -> str:
        """The whole message: plain text, a few lines."""
        if self.occasion is Occasion.OVER:
            return (
                f"{self.headline}\n"
                f"It lasted from {_time(self.since)} to {_time(self.at)}.\n"
                f"Runbook: {self.alert.section}"
            )
        return (
            f"{self.alert.severity.upper()}: {_short(self.alert.cause, 1500)}\n"
            f"Figure: {self.alert.figure}\n"
            f"What to do: {self.alert.next_step}\n"
            f"Since: {_time(self.since)}\n"
            f"Runbook: {self.alert.section}"
        )


def in_words(span: timedelta) -> str:
    """Say how long: "40 s", "5 min", "3 h 5 min", "2 d 1 h"."""
    seconds = max(0, round(span.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    hours, days = minutes // 60, minutes // (24 * 60)
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _short(text: str, longest: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
