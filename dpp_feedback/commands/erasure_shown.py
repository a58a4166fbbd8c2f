"""What `dpp-feedback erase` prints; the address only masked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback.commands.erase import Outside
    from dpp_feedback.removal.erasure import Erased, Listing
    from dpp_feedback.removal.person import Person
    from dpp_feedback.removal.search import Found

_FEW = 5  # others of a domain, below which it is told that the domain stays
_WORDS = {
    "events": "events of this recipient",
    "events_naming": "events about others that name the address",
    "rejects": "rejects that name it",
    "bodies": "kept bodies that name it",
    "acts": "records of acts that name it",
    "sources": "sources of the counters that name it",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """How a command went.

    Attributes:
        person: who.
        outcome: "erased", "found", "nothing_found" or "not_proven".
        found: by the first search.
        listed: by the suppression list, before.
        erased: None if nothing was changed in the database.
        keep_hash: as asked for.
    """

    person: Person
    outcome: str
    found: Found
    listed: Listing
    erased: Erased | None
    keep_hash: bool | None


def show(shown: Shown, outside: Outside, *, as_json: bool) -> None:
    """Print it."""
    counts = shown.erased.counts if shown.erased else shown.found.counts()
    notes = [*_open_ends(shown, outside), *_on_suppression(shown), *_remarks(shown)]
    if as_json:
        told = {
            "address": shown.person.masked,
            "outcome": shown.outcome,
            "counts": counts,
            "report": outside.report,
            "dead_letters": outside.dead_letters,
            "suppressed": shown.listed.reason,
            "hash_kept": bool(shown.erased and shown.erased.hash_kept) or shown.listed.hash_kept,
            "notes": notes,
        }
        if shown.erased and shown.erased.hash_forgotten:
            told["hash_kept"] = False
        click.echo(json.dumps(told, indent=2))
        return
    said = {
        "erased": "is erased; a search of every row finds nothing more",
        "found": "is found, and nothing was changed",
        "nothing_found": "is not found anywhere",
        "not_proven": "may not be erased everywhere yet",
    }
    click.echo(f"{shown.person.masked} {said[shown.outcome]}.")
    for name, number in counts.items():
        if number:
            click.echo(f"{number:>10,}  {_WORDS[name]}")
    if outside.report:
        click.echo(f"{1:>10,}  list among the reports")
    for note in notes:
        click.echo(f"- {note}")


def _open_ends(shown: Shown, outside: Outside) -> Iterator[str]:
    """What keeps the proof open, each with the next step."""
    left = shown.erased.left if shown.erased else shown.found
    yield from outside.faults
    if shown.erased and (left.own or left.naming or left.rows or left.sources or left.bodies):
        yield "New rows came in meanwhile: run this again when the queue is empty."
    if left.elsewhere:
        yield (
            "These columns name the address and are not written to, as counters rest on them or "
            f"they are keys: {', '.join(sorted(left.elsewhere))}. Mend them by hand."
        )
    if left.unread and left.unread_until:
        yield (
            f"{left.unread} kept bodies of rejected messages cannot be searched: set "
            "SES_FEEDBACK_REJECT_KEY to the key they were kept with, or run this again after "
            f"{left.unread_until:%Y-%m-%d}, when the last of them is gone."
        )
    if outside.dead_letters:
        yield (
            f"{outside.dead_letters} messages in the dead-letter queue name the address, and would "
            "bring it back: store them with `dpp-feedback dlq reprocess --no-dry-run` or discard "
            "them with `dpp-feedback dlq discard`, and run this again. `dpp-feedback dlq list "
            "--contains ADDRESS` names them."
        )


def _on_suppression(shown: Shown) -> Iterator[str]:
    reason, erased = shown.listed.reason, shown.erased
    if erased and erased.hash_kept:
        yield f"Suppressed for {reason} by a hash of the address: docs/suppression.md."
    elif reason and shown.keep_hash is not True:
        when = "will not be" if not erased else "is not"
        yield (
            f"It is on the list of who must not be mailed ({reason}), and {when} after the "
            "erasure. --keep-hash keeps a keyed hash by which your application can still know it."
        )
    elif shown.keep_hash and not reason:
        yield "It is not suppressed: no hash is kept."
    if erased and erased.hash_forgotten:
        yield "The hash that was kept of it is removed."
    elif shown.listed.hash_kept:
        yield "A hash of it is kept from before; --forget-hash removes that."


def _remarks(shown: Shown) -> Iterator[str]:
    if shown.outcome != "nothing_found" and shown.listed.others_of_domain < _FEW:
        yield (
            f"Events and counters keep the domain, which has {shown.listed.others_of_domain} other "
            "recipients here: where it names a person by itself, docs/runbook.md says what to do."
        )
    yield (
        "Messages that still wait in the queue may bring new rows: run this again in a day, and "
        "after 14 days, or 14 days after the last redrive, nothing can come back from there."
    )
    yield (
        "SES's own suppression list is not touched: `aws sesv2 delete-suppressed-destination "
        "--email-address ADDRESS` takes it off there. Backups keep what they hold."
    )
