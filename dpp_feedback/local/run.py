"""`dpp-feedback run`: everything on this machine, traffic through it, and the sum at the end.

What each part does is in its own module; this one puts them in order and shows them.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from dpp_feedback.local import process, rollups
from dpp_feedback.local.account import account
from dpp_feedback.local.dagster_dev import DagsterDev
from dpp_feedback.local.errors import StackError
from dpp_feedback.local.ledger import Ledger
from dpp_feedback.local.rollups import WebServer
from dpp_feedback.local.simulate import mail, publish
from dpp_feedback.local.stack import Stack
from dpp_feedback.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dpp_feedback.local.account import Account
    from dpp_feedback.local.incidents import Month
    from dpp_feedback.local.traffic import Notification

_PATIENCE = 600  # seconds in which nothing moves; broken messages take three minutes to the DLQ
_LONG = 120  # seconds in which nothing moves, and one begins to wonder
_LOOK_EVERY = 1  # seconds
_BY_TYPE = (
    "SELECT bounce_type, bounce_sub_type, count(*) FROM public.ses_feedback_events "
    "WHERE notification_type = 'Bounce' GROUP BY 1, 2 ORDER BY 3 DESC"
)


class Run:
    """One run of everything.

    Args:
        folder: of the local stack.
        port: of Dagster's web server.
        postgres_port: None for the default.
        aws_port: None for the default.
    """

    def __init__(
        self, folder: Path, *, port: int, postgres_port: int | None, aws_port: int | None
    ) -> None:
        self._stack = Stack(folder)
        self._dagster = DagsterDev(self._stack.folder / "dagster", port)
        self._ports = (postgres_port, aws_port)
        self._console = Console(highlight=False)

    def __call__(
        self, notifications: Iterable[Notification], *, once: bool, month: Month | None = None
    ) -> bool:
        """Start, send, watch, sum up; then serve until Ctrl-C, and stop what was started.

        Args:
            notifications: to publish, beside a few mails to SES's mailbox simulator.
            once: end after the table, and what follows it for a month.
            month: what the notifications are about; then its days are rolled up and reported.

        Returns:
            Whether every message is accounted for, and a month's rollups and report are there;
            False if interrupted before that is known.

        Raises:
            StackError, MigrationError: something does not start.
        """
        say = self._console.print
        # A shell that starts this in the background has SIGINT ignored, for us and for what we
        # start; and who ends it by SIGTERM wants everything stopped as well.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        done = False
        with ExitStack() as undo:
            try:
                settings = self._start(undo)
                say(f"Dagster is at {self._dagster.url}; its sensor looks every 30 seconds.")
                self._send(settings, notifications)
                result = self._watch(settings)
                say(_table(result))
                rolled_up = not month or self._roll_up(
                    month, Path(settings["SES_FEEDBACK_REPORTS"])
                )
                done = result.accounted_for and rolled_up
                if once:
                    say("\nStopping. `make run` keeps it open to look around.")
                else:
                    for line in _next_steps(self._stack, self._dagster):
                        say(line, soft_wrap=True, markup=False)  # to be copied whole
                    say("\nCtrl-C stops everything; the data stay in", str(self._stack.folder))
                    while True:
                        time.sleep(3600)
            except KeyboardInterrupt:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # stopping takes seconds: wait for it
                say("\nStopping ...")
        return done

    def _start(self, undo: ExitStack) -> dict[str, str]:
        try:
            self._stack.settings()
        except StackError:  # not up: then it is ours to stop
            undo.callback(self._stack.down)
        settings = self._stack.up(*self._ports, env_file=Path(".env"))
        busy = f"Another `dpp-feedback run` uses {self._stack.folder}: end it first."
        undo.enter_context(process.alone(self._stack.folder / "dagster", busy))
        migrated = migrate(settings["DATABASE_URL"])
        self._console.print(
            "Postgres and the AWS stand-in are up,", len(migrated), "migrations applied."
        )
        undo.callback(self._dagster.stop)
        with self._console.status("Starting Dagster ..."):
            self._dagster.start(settings)
        return settings

    def _send(self, settings: dict[str, str], notifications: Iterable[Notification]) -> None:
        ledger = Ledger(self._stack.folder)
        earlier = len(ledger.read())
        with self._console.status("Sending ..."):
            mailed = mail(settings)
            ledger.append(mailed)
            published = publish(notifications, settings, progress=ledger.append)
        numbers = published.counts()
        broken = numbers["rejected"]
        self._console.print(
            f"Sent mails to SES's mailbox simulator, which answers with {len(mailed)} "
            f"notifications, and published {len(published):,} more: {numbers['duplicate']} "
            f"duplicates, {broken or 'none'} broken.",
            "The broken ones are refused five times, then SQS puts them into the dead-letter "
            "queue: about three minutes."
            if broken
            else "",
        )
        if earlier:
            self._console.print(f"The sums below hold {earlier:,} messages of earlier runs too.")

    def _watch(self, settings: dict[str, str]) -> Account:
        ledger = Ledger(self._stack.folder)
        with Progress(
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} done"),
            TextColumn("[dim]{task.description}"),
            TimeElapsedColumn(),
            console=self._console,
        ) as progress:
            bar = progress.add_task("")
            moved = time.monotonic()
            before = None
            while True:
                now = account(settings["DATABASE_URL"], settings, ledger)
                if now != before:
                    before, moved = now, time.monotonic()
                still = (
                    "" if time.monotonic() < moved + _LONG else f"; see {self._dagster.url}/runs"
                )
                progress.update(
                    bar,
                    total=now.published,
                    completed=now.stored + now.duplicates + now.ignored + now.in_dlq,
                    description=f"{now.stored:,} stored, {now.in_dlq:,} in the DLQ{still}",
                )
                if now.accounted_for or time.monotonic() > moved + _PATIENCE:
                    return now
                self._dagster.require_running()
                time.sleep(_LOOK_EVERY)

    def _roll_up(self, month: Month, reports: Path) -> bool:
        """Make the month's rates and report, and say what they found and where they are."""
        say = self._console.print
        say(f"\n{month.story}", markup=False)
        with self._console.status(f"Rolling up {month.first} to {month.last}, then the report ..."):
            try:
                checks = WebServer(self._dagster.url).roll_up(month.first, month.last)
            except StackError as error:
                say(str(error), style="bold red", markup=False, soft_wrap=True)
                return False
        passed = sum(check.status == "SUCCEEDED" for check in checks)
        say(f"Rolled up {month.first} to {month.last}; {passed} of {len(checks)} checks passed.")
        for check in checks:
            if check.status not in ("SUCCEEDED", None):
                colour = "yellow" if check.severity == "WARN" else "red"
                say(f"  [{colour}]{check.severity or check.status}[/] {check.asset}: {check.name}")
                say(f"    {check.description or ''}", markup=False, soft_wrap=True)
        say("See")
        for what, where in _results(self._dagster, reports):
            say(f"  {what:<11}{where}", markup=False, soft_wrap=True)
        return True


def _results(dagster: DagsterDev, reports: Path) -> Iterator[tuple[str, str]]:
    yield "the rates", f"{dagster.url}/assets/{rollups.DAILY}"
    for asset in rollups.REPORTS:
        yield "", f"{dagster.url}/assets/{asset}"
    written = sorted(reports.glob("*.html"), key=lambda path: path.stat().st_mtime)
    if written:
        yield "the report", str(_short(written[-1]))


def _table(result: Account) -> Table:
    table = Table(title="What became of the messages", title_justify="left", min_width=60)
    table.add_column("")
    table.add_column("messages", justify="right")
    table.add_column("rows", justify="right")
    table.add_row("published", f"{result.published:,}", end_section=True)
    rows = sum(result.rows_by_kind.values())
    table.add_row("stored", f"{result.stored:,}", f"{rows:,}")
    for kind, number in sorted(result.rows_by_kind.items()):
        table.add_row(f"  {kind}", "", f"{number:,}", style="dim")
    table.add_row("duplicates dropped", f"{result.duplicates:,}")
    table.add_row("ignored (control messages of SES)", f"{result.ignored:,}")
    table.add_row("in the dead-letter queue", f"{result.in_dlq:,}")
    table.add_row("still waiting", f"{result.waiting:,}")
    if result.missing or result.surplus:
        table.add_row("missing", f"{result.missing:,}", style="bold red")
        table.add_row("not published here", f"{result.surplus:,}", style="bold red")
    good = result.accounted_for
    table.caption = (
        "[bold green]Every message is accounted for."
        if good
        else f"[bold red]Not accounted for: {result.missing_rows:,} rows missing, "
        f"{result.unexpected_rows:,} unexpected, {result.in_dlq:,} of {result.poison:,} broken "
        "messages in the dead-letter queue. The runs say more; to start afresh: "
        "dpp-feedback down --wipe."
    )
    table.caption_justify = "left"
    return table


def _next_steps(stack: Stack, dagster: DagsterDev) -> list[str]:
    command = _short(Path(sys.argv[0]))
    installed = shutil.which("psql")
    psql = f"{'psql' if installed else _short(stack.postgres.psql)} {stack.postgres.url()}"
    return [
        "",
        "Where to look next",
        f"  the runs   {dagster.url}/runs",
        f"  the asset  {dagster.url}/assets/ses_feedback_events",
        f"  the table  {psql}",
        "",
        "Three commands to try",
        f"  {command} simulate --count 10000 --duplicates 5% --poison 1%",
        f"""  echo '{{"notificationType": "Bounce"}}' | {command} explain -""",
        f'  {psql} -c "{_BY_TYPE}"',
    ]


def _short(path: Path) -> Path:
    """A path as somebody in this folder would type it."""
    absolute = path.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute
