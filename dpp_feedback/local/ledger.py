"""What was published to the local stack: the one side of the account, kept in a file.

Holds dedupe keys and ids, no bodies. Publishing is simulate.py's business, comparing account.py's.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeAlias

from dpp_feedback.local.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dpp_feedback.local.traffic import Expected

FILE_NAME = "published.jsonl"


@dataclass(frozen=True, slots=True)
class Sent:
    """A simulated notification that was published.

    Attributes:
        expected: what must become of it; see `traffic.Notification`.
        dedupe_keys: of the rows that must be there afterwards.
        sns_message_id: what SNS called it; None if it was put into the queue directly.
    """

    expected: Expected
    dedupe_keys: tuple[str, ...] = ()
    sns_message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Mailed:
    """A notification that SES sends because of a mail to its mailbox simulator.

    SES chooses its feedback id, so its dedupe key cannot be known beforehand.

    Attributes:
        ses_message_id: what SES called the mail.
        kind: what SES says of it, such as "Bounce".
        recipient: the simulator's address.
    """

    ses_message_id: str
    kind: str
    recipient: str


Entry: TypeAlias = Sent | Mailed


@dataclass(frozen=True, slots=True)
class Published:
    """What one call published.

    Attributes:
        messages: in no particular order.
    """

    messages: tuple[Entry, ...]

    def __len__(self) -> int:
        return len(self.messages)

    def counts(self) -> dict[Expected, int]:
        """How many messages must be stored, dropped as duplicates, ignored and rejected."""
        counted: Counter[Expected] = Counter(
            message.expected if isinstance(message, Sent) else "stored" for message in self.messages
        )
        order: tuple[Expected, ...] = ("stored", "duplicate", "ignored", "rejected")
        return {expected: counted[expected] for expected in order}


class Ledger:
    """Everything that was published to one local stack, across calls.

    Args:
        folder: the stack's folder; the ledger goes with it when the stack is wiped.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME

    def append(self, published: Published) -> None:
        """Add what one call published."""
        lines = [json.dumps(asdict(message)) + "\n" for message in published.messages]
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(lines))

    def forget(self) -> None:
        """Begin anew."""
        self.path.unlink(missing_ok=True)

    def read(self) -> list[Entry]:
        """Return everything, the oldest first; nothing if nothing was published.

        Raises:
            StackError: the file is broken.
        """
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
            return list(_entries(lines))
        except FileNotFoundError:
            return []
        except (ValueError, TypeError) as error:
            raise StackError(
                f"{self.path} is broken ({error}), so nobody can tell what was published. "
                "Start afresh: wipe the local stack, and bring it up again."
            ) from error


def _entries(lines: Iterable[str]) -> Iterable[Entry]:
    for line in lines:
        fields = json.loads(line)
        if "kind" in fields:
            yield Mailed(**fields)
        else:
            yield Sent(**fields | {"dedupe_keys": tuple(fields["dedupe_keys"])})
