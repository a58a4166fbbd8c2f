"""The command `dpp-feedback`: options, exit codes, and what is printed.

It holds no logic of its own: each command calls a module and prints what comes back. Heavier
modules are imported by the commands that need them, so that `--help` and `explain` answer at once.
"""

from __future__ import annotations

import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from dpp_feedback.commands.dlq import dlq
from dpp_feedback.commands.doctor import doctor
from dpp_feedback.commands.erase import erase
from dpp_feedback.commands.retention import retention
from dpp_feedback.errors import FeedbackError, unforeseen
from dpp_feedback.secrecy import keep_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback.feedback.parser import Admit
    from dpp_feedback.local.incidents import Incident, Month
    from dpp_feedback.local.ledger import Published
    from dpp_feedback.local.traffic import FormatChoice, Notification

EXIT_CODES = {"events": 0, "ignored": 3, "rejected": 4}
# With a seed, the time must not come from the clock: the seed alone repeats the messages.
SEEDED_AT = datetime(2026, 2, 17, tzinfo=UTC)
_COUNT = "[default: 1000; with --days 500 a day, 1000 with silence]"


def share(written: str) -> float:
    """Read `5%` or `0.05` as a number from 0 to 1."""
    try:
        number = float(written.removesuffix("%")) / (100 if written.endswith("%") else 1)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise click.BadParameter(f"{written!r} is no share. Write 5% or 0.05.")
    return number


class Commands(click.Group):
    """Commands that end with an error's own sentence instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except FeedbackError as error:
            raise click.ClickException(str(error)) from None
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:
            raise RuntimeError(unforeseen(error)).with_traceback(error.__traceback__) from None


folder_option = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".dpp"),
    show_default=True,
    help="Where the local stack keeps its data.",
)
postgres_port_option = click.option(
    "--postgres-port", type=click.IntRange(1, 65535), help="Where Postgres listens."
)
aws_port_option = click.option(
    "--aws-port", type=click.IntRange(1, 65535), help="Where AWS's stand-in listens."
)
days_option = click.option(
    "--days",
    type=click.IntRange(1, 365),
    help="Spread the mails over so many days up to now, at the rates of a list in good order, "
    "instead of an hour of everything.",
)
incident_option = click.option(
    "--incident",
    type=click.Choice(["bounce-spike", "complaint-spike", "silence"]),
    help="What goes wrong in these days: for three of them a sender's old list bounces, or its "
    "mails are complained of; or mail is sent and no feedback comes.",
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dpp-feedback")
def main() -> None:
    """Amazon SES feedback from SQS into Postgres, with Dagster."""
    from dotenv import load_dotenv

    keep_secrets()
    load_dotenv(Path(".env"))  # as `dagster dev` does; what the environment says goes first


@main.command()
@folder_option
@postgres_port_option
@aws_port_option
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=3000,
    show_default=True,
    help="Where Dagster's UI listens.",
)
@click.option("--count", type=click.IntRange(100), help=f"Notifications.  {_COUNT}")
@days_option
@incident_option
@click.option("--once", is_flag=True, help="Exit after the table; 0 if nothing is missing.")
def run(
    folder: Path,
    postgres_port: int | None,
    aws_port: int | None,
    port: int,
    count: int | None,
    days: int | None,
    incident: Incident | None,
    once: bool,
) -> None:
    """Start everything on this machine, send traffic, and show what becomes of it.

    With --days also the rates of these days, and the report on them.
    """
    from dpp_feedback.local.run import Run

    at = _now()
    month = _month(days, at, incident)
    notifications = _notifications(month, count or _count(month), seed=_seed(), at=at)
    started = Run(folder, port=port, postgres_port=postgres_port, aws_port=aws_port)
    sys.exit(0 if started(notifications, once=once, month=month) else 1)


@main.command()
@folder_option
@postgres_port_option
@aws_port_option
def up(folder: Path, postgres_port: int | None, aws_port: int | None) -> None:
    """Start the local stack: Postgres, and a stand-in for SQS, SNS and SES.

    Again is harmless. The settings go to .env, where `dagster dev`, `dg dev` and this command
    find them.
    """
    from dpp_feedback.local.stack import Stack
    from dpp_feedback.migrate import migrate as apply

    settings = Stack(folder).up(postgres_port, aws_port, env_file=Path(".env"))
    _echo_migrated(apply(settings["DATABASE_URL"]))
    click.echo(f"Postgres   {settings['DATABASE_URL']}")
    click.echo(f"SQS queue  {settings['SQS_QUEUE_URL']}")
    click.echo("Next: `dagster dev -w workspace.yaml`, and `dpp-feedback simulate` for traffic.")


@main.command()
@folder_option
@click.option("--wipe", is_flag=True, help="Remove its data too.")
def down(folder: Path, wipe: bool) -> None:
    """Stop the local stack; its data stay."""
    from dpp_feedback.local.stack import Stack

    stopped = Stack(folder).down(wipe)
    click.echo("\n".join(f"stopped {what}" for what in stopped) or "nothing was running")


@main.command()
@folder_option
@click.option("--count", type=click.IntRange(1), help=f"Notifications.  {_COUNT}")
@days_option
@incident_option
@click.option(
    "--duplicates", type=share, help="Share published twice.  [default: 5%; with --days 1%]"
)
@click.option("--poison", type=share, help="Share broken.  [default: 1%; with --days 0]")
@click.option(
    "--kinds",
    help="With commas between; SES's ten: Bounce, Complaint, Delivery, Send, Reject, Open, Click, "
    "Rendering Failure, DeliveryDelay, Subscription. All but the first three exist as event "
    "publishing only.  [default: Bounce,Complaint,Delivery]",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["notification", "event-publishing", "mixed"]),
    help="[default: mixed]",
)
@click.option("--raw", is_flag=True, help="As raw message delivery: without SNS's envelope.")
@click.option("--seed", type=int, help="The same seed publishes the same messages again.")
@click.option(
    "--at",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%SZ"]),
    help=f"When the mails were sent.  [default: now; with --seed {SEEDED_AT:%Y-%m-%dT%H:%M:%SZ}]",
)
def simulate(
    folder: Path,
    count: int | None,
    days: int | None,
    incident: Incident | None,
    duplicates: float | None,
    poison: float | None,
    kinds: str | None,
    format_: FormatChoice | None,
    raw: bool,
    seed: int | None,
    at: datetime | None,
) -> None:
    """Publish SES-shaped notifications to the topics of the local stack."""
    from dpp_feedback.local.ledger import Ledger
    from dpp_feedback.local.simulate import publish
    from dpp_feedback.local.stack import Stack

    at = at.replace(tzinfo=at.tzinfo or UTC) if at else _now() if seed is None else SEEDED_AT
    seed = _seed() if seed is None else seed
    month = _month(days, at, incident)
    count = count or _count(month)
    stack = Stack(folder)
    settings = stack.settings()
    chosen = {
        "duplicates": duplicates,
        "poison": poison,
        "kinds": kinds and [name.strip() for name in kinds.split(",") if name.strip()],
        "format": format_,
    }
    notifications = _notifications(month, count, seed=seed, at=at, **chosen)
    ledger = Ledger(stack.folder)
    with click.progressbar(length=count, label="publishing", file=sys.stderr) as bar:

        def settle(batch: Published) -> None:
            ledger.append(batch)
            bar.update(len(batch))

        published = publish(notifications, settings, raw=raw, progress=settle)
    told = {
        "stored": "to be stored",
        "duplicate": "duplicates",
        "ignored": "control messages, to be ignored",
        "rejected": "broken, to end in the dead-letter queue",
    }
    click.echo(f"published {len(published)} messages")
    for expected, number in published.counts().items():
        click.echo(f"{number:>10}  {told[expected]}")
    again = f"--seed {seed} --at {at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if month:
        again += f" --days {month.days}" + (f" --incident {incident}" if incident else "")
        click.echo(month.story)
    click.echo(f"the same again: {again}")
    if month:
        _echo_next(month)


@main.command()
def migrate() -> None:
    """Apply the migrations to the database of DATABASE_URL, each once."""
    from dpp_feedback.migrate import migrate as apply
    from dpp_feedback.resources import database_url

    _echo_migrated(apply(database_url()) or ["nothing: all are applied"])


@main.command()
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option("--verify", is_flag=True, help="Also look at topic and signature, by the settings.")
def explain(file: BinaryIO, as_json: bool, verify: bool) -> None:
    """Say what would become of a message body, and why; FILE may be - for standard input.

    Exit code: 0 events, 3 ignored, 4 rejected. Where the body says no time at all, the time of
    reading stands for the queue's.
    """
    from dpp_feedback.explain import explain as read
    from dpp_feedback.feedback.parser import anything

    admit: Admit = anything
    signed = False
    if verify:
        from dpp_feedback.resources import sns_check, verifies

        admit, signed = sns_check(), verifies()
    explained = read(file.read(), _now(), admit)
    if as_json:
        from dpp_feedback.feedback.escaped import json_text

        click.echo(json_text(explained.as_json(), indent=2))
    else:
        from rich.console import Console

        from dpp_feedback.show import explanation

        Console(highlight=False).print(explanation(explained))
        if not verify and any(
            "SNS notification" in (each.envelopes or ()) for each in explained.records
        ):
            click.echo("\nTopic and signature were not looked at: --verify does.")
        if verify and not signed:
            click.echo("\nThe signature was not looked at: by the settings none is needed here.")
    sys.exit(EXIT_CODES[explained.outcome])


main.add_command(dlq)
main.add_command(doctor)
main.add_command(retention)
main.add_command(erase)


def _month(days: int | None, at: datetime, incident: Incident | None) -> Month | None:
    from dpp_feedback.local.incidents import Month

    if incident and not days:
        raise click.UsageError("--incident needs --days: it is a part of them.")
    return Month(days, at, incident) if days else None


def _count(month: Month | None) -> int:
    return month.count if month else 1000


def _notifications(
    month: Month | None, count: int, *, seed: int, at: datetime, **chosen: Any
) -> Iterator[Notification]:
    """Make the traffic; `chosen` holds what is None unless an option says it."""
    from dpp_feedback.local.month import month as of_month
    from dpp_feedback.local.traffic import traffic

    chosen = {name: value for name, value in chosen.items() if value is not None}
    try:
        if month is None:
            return traffic(count, seed=seed, at=at, **chosen)
        for name in {"kinds", "format"} & chosen.keys():
            raise click.UsageError(
                f"--{name} does not go with --days, whose mails fare as mails do and are all "
                "published as events."
            )
        return of_month(count, days=month.days, seed=seed, at=at, incident=month.incident, **chosen)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None


def _echo_next(month: Month) -> None:
    click.echo(
        f"Next, when all is stored: {month.first} to {month.last} are over and can be rolled up. "
        "In Dagster's UI materialize these partitions of daily_bounce_rates in a single run, then "
        "bounce_rate_report; or with the DAGSTER_HOME of your `dagster dev`:"
    )
    select = "dagster asset materialize -m dpp_feedback.definitions --select"
    click.echo(f"  {select} daily_bounce_rates --partition-range {month.first}...{month.last}")
    click.echo(f"  {select} bounce_rate_report")
    click.echo("`dpp-feedback run --days ...` does all of it.")


def _echo_migrated(names: list[str]) -> None:
    for name in names:
        click.echo(f"migrated   {name}")


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _seed() -> int:
    return secrets.randbelow(1_000_000)
