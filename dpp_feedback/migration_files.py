"""The SQL files of migrations/: which there are, and which names and contents are refused.

What applies them is migrate.py's business.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from dpp_feedback.errors import FeedbackError

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"[0-9]{8}_[a-z0-9_]{1,80}\.sql")
_LONGEST_SHOWN = 100  # characters of a name that is none of ours


class MigrationError(FeedbackError):
    """The database cannot be migrated: what is wrong, and what to do next."""


@dataclass(frozen=True, slots=True)
class MigrationFile:
    """One file.

    Attributes:
        name: without its folder.
        sql: its text, with the line ends of Unix: a checkout on Windows may have others, and what
            was applied would then seem changed.
        beforehand: a query for what is to be run before it, statement by statement and outside of
            a transaction, so that nobody waits for an index; None where there is nothing.
    """

    name: str
    sql: str
    beforehand: str | None

    @property
    def sha256(self) -> str:
        """Of the text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_files(directory: Path) -> list[MigrationFile]:
    """Read the files of a folder, in order.

    Raises:
        MigrationError: there are none, or one of them is not to be trusted: it has another name
            than `YYYYMMDD_lower_case.sql` or the date of another one, leads out of the folder, or
            is not text in UTF-8.
    """
    paths = sorted(
        (path for path in directory.glob("*") if path.name.lower().rstrip().endswith(".sql")),
        key=lambda path: path.name,
    )
    if not paths:
        raise MigrationError(f"There are no SQL files in {directory}: install dpp_feedback anew.")
    for path in paths:
        if not _NAME.fullmatch(path.name):
            raise MigrationError(
                f"{shown_name(path.name)} among the migrations is none: they are named as "
                "20260217_create_events.sql is. Remove it, or rename it if it is yours."
            )
    for former, latter in pairwise(paths):
        if former.name[:8] == latter.name[:8]:
            raise MigrationError(
                f"{former.name} and {latter.name} have the same date, so that their order is not "
                "known: give the newer one a date of its own."
            )
    return [_read(path, directory) for path in paths]


def shown_name(name: str) -> str:
    """Write a name as a person may read it: whoever made it may have put anything in."""
    return name if _NAME.fullmatch(name) else ascii(name[:_LONGEST_SHOWN])


def _read(path: Path, directory: Path) -> MigrationFile:
    beforehand = directory / "concurrently" / path.name
    return MigrationFile(
        path.name,
        _text(path, directory),
        _text(beforehand, directory) if beforehand.is_symlink() or beforehand.exists() else None,
    )


def _text(path: Path, directory: Path) -> str:
    if not path.is_file() or not path.resolve().is_relative_to(directory.resolve()):
        raise MigrationError(
            f"{path.name} is no file of the folder of migrations but leads elsewhere: put the file "
            "itself there."
        )
    try:
        return path.read_bytes().decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise MigrationError(
            f"{path.name} is not text in UTF-8: put the released file back."
        ) from None
