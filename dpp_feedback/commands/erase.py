"""`dpp-feedback erase`: options, exit codes, and where else than the database is looked."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from dpp_feedback.commands import erasure_shown
from dpp_feedback.commands.signals import handing_back
from dpp_feedback.errors import FeedbackError

if TYPE_CHECKING:
    from dpp_feedback.removal.person import Person

NOTHING_FOUND = 3  # exit code


@dataclass(slots=True)
class Outside:
    """What was found beside the database.

    Attributes:
        report: the list among the reports names the address.
        dead_letters: messages of the dead-letter queue that do; None: nobody looked.
        faults: why something could not be looked at or rewritten; each keeps the proof open.
    """

    report: bool = False
    dead_letters: int | None = None
    faults: list[str] = field(default_factory=list)


@click.command()
@click.argument("address")
@click.option("--dry-run", is_flag=True, help="Only say where the person is found.")
@click.option(
    "--keep-hash/--forget-hash",
    default=None,
    help="Keep a keyed hash of an address that is suppressed now, so that it can stay so "
    "(docs/suppression.md); or remove one that was kept. Needs SES_FEEDBACK_ERASURE_KEY.",
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def erase(address: str, dry_run: bool, keep_hash: bool | None, as_json: bool) -> None:
    """Erase a person from events, rejects, the suppression list and records, and prove it.

    ADDRESS is one mail address; - reads it from standard input, which keeps it out of the shell's
    history and the list of processes. Counters stay: of each event it leaves the domain and what
    it was counted by. It may be ended at any moment and run again.

    Exit code: 0 erased and proven (with --dry-run: found), 3 nothing found, 1 otherwise.
    """
    from dpp_feedback.connection import connect
    from dpp_feedback.dlq.actor import actor, without_address
    from dpp_feedback.removal import erasure
    from dpp_feedback.removal.person import Person
    from dpp_feedback.removal.search import search
    from dpp_feedback.resources import aws_region, database_url, erasure_key, reject_key

    person = Person(sys.stdin.read() if address == "-" else address)
    key, bodies_key = erasure_key(), reject_key()
    if keep_hash is not None and key is None:
        raise click.ClickException(
            "SES_FEEDBACK_ERASURE_KEY is not set, and a hash needs it: set it to what `openssl "
            "rand -base64 33` prints, and keep it. Nothing was changed."
        )
    with handing_back(), closing(connect(database_url(), "dpp_feedback erase")) as connection:
        found = search(connection, person, bodies_key)
        listed = erasure.listing(connection, person, key)
        outside = _outside(person)
        forgettable = keep_hash is False and bool(listed.hash_kept)
        anything = bool(found) or outside.report or bool(outside.dead_letters) or forgettable
        erased = None
        if not dry_run and (found or forgettable):
            erased = erasure.erase(
                connection,
                person,
                found,
                actor=without_address(actor(aws_region())),
                reject_key=bodies_key,
                keep_hash=key if keep_hash else None,
                forget_hash=key if keep_hash is False else None,
            )
        if not dry_run and outside.report:
            _rewrite_report(person, outside)
    left = erased.left if erased else found
    open_ends = left.unread or outside.faults or outside.dead_letters or (erased and left)
    outcome = "found" if dry_run else "not_proven" if open_ends else "erased"
    if not anything and not open_ends:
        outcome = "nothing_found"
    shown = erasure_shown.Shown(person, outcome, found, listed, erased, keep_hash)
    erasure_shown.show(shown, outside, as_json=as_json)
    sys.exit({"nothing_found": NOTHING_FOUND, "not_proven": 1}.get(outcome, 0))


def _outside(person: Person) -> Outside:
    """Look where else the address may be: in the list among the reports, in dead letters."""
    from dpp_feedback.assets.suppression import FILE
    from dpp_feedback.resources import FeedbackQueue, ReportFolder, SettingMissing

    outside = Outside()
    try:
        written = ReportFolder().connect().read(FILE)
        outside.report = written is not None and person.named_in(written.decode(errors="replace"))
    except FeedbackError as error:
        outside.faults.append(f"{FILE} among the reports cannot be searched: {error}")
    try:
        with FeedbackQueue(setting="SQS_DLQ_URL").connect().look() as look:
            outside.dead_letters = sum(person.named_in(message.body) for message in look)
    except SettingMissing:  # it may have none, or whoever erases no right to it
        pass
    except FeedbackError as error:
        outside.faults.append(f"The dead-letter queue cannot be searched: {error}")
    return outside


def _rewrite_report(person: Person, outside: Outside) -> None:
    """Write the list anew, as it is now."""
    from dpp_feedback.assets.suppression import FILE, as_csv
    from dpp_feedback.resources import FeedbackStore, ReportFolder

    try:
        with FeedbackStore().connect() as store:
            data = as_csv(store.suppression.recipients())
        ReportFolder().connect().write(FILE, data, "text/csv; charset=utf-8")
        if person.named_in(data.decode()):
            outside.faults.append(f"{FILE} names the address again: run this once more.")
    except FeedbackError as error:
        outside.faults.append(f"{FILE} among the reports still names the address: {error}")
