"""The options that several commands `dpp-feedback dlq ...` share: which messages are meant."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from dpp_feedback.dlq.reasons import REASONS
from dpp_feedback.dlq.selection import read_time

if TYPE_CHECKING:
    from collections.abc import Callable

_SPAN = re.compile(r"(\d{1,6})\s*([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Since(click.ParamType[datetime]):
    """A time, or how long ago: `3h`, `2d`."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it; a time without zone is UTC."""
        if isinstance(value, datetime):
            return value
        try:
            if ago := _SPAN.fullmatch(value.strip()):
                return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            return read_time(value)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no time. Write 2026-02-17T08:30:00Z, or how long ago: 90m, 3h, 2d.",
                param,
                ctx,
            )


def _ids(_: click.Context, param: click.Parameter, written: tuple[str, ...]) -> tuple[str, ...]:
    """Read ids, each once and in their order. One that is blank is a variable that is not set."""
    ids: dict[str, None] = {}
    for words in written:
        named = (sys.stdin.read() if words == "-" else words).replace(",", " ").split()
        if not named:
            raise click.BadParameter("no id is named.", param=param)
        ids |= dict.fromkeys(named)
    return tuple(ids)


def _filled(_: click.Context, param: click.Parameter, written: Any) -> Any:
    if written == "" or (isinstance(written, tuple) and not all(map(str.strip, written))):
        raise click.BadParameter("it is empty, and would select everything.", param=param)
    return written


reason_option = click.option(
    "--reason",
    "reasons",
    multiple=True,
    type=click.Choice(REASONS, case_sensitive=False),
    metavar="REASON",
    help="Only messages with this reason, as the present parser sees it; repeat for several. "
    f"One of {', '.join(REASONS)}.",
)
kind_option = click.option(
    "--kind",
    "kinds",
    multiple=True,
    callback=_filled,
    help="Only messages about this kind of event, like Bounce; repeat for several.",
)


def ids_option(*, required: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make the option that names messages: repeated, with commas between, or from a pipe."""
    return click.option(
        "--id",
        "--ids",
        "message_ids",
        metavar="ID",
        multiple=True,
        required=required,
        callback=_ids,
        help="Only this message, by its id in `dlq list`; repeat it, or write several with commas "
        "between; - reads them from standard input.",
    )


def filters(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `list` and `export` that say which messages are meant."""
    options = (
        reason_option,
        kind_option,
        click.option(
            "--since",
            type=Since(),
            help="Only messages received then or later: an ISO 8601 time, or how long ago "
            "(3h, 2d).",
        ),
        click.option(
            "--contains",
            metavar="TEXT",
            callback=_filled,
            help="Only messages with this text in the body, upper or lower case.",
        ),
        click.option(
            "--limit",
            type=click.IntRange(min=0),
            default=100,
            show_default=True,
            help="At most so many; 0 for all.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
