"""What goes wrong on request, and when: chosen from a seed, so that it happens again. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal[
    "throttle",
    "over_limit",
    "error500",
    "unavailable503",
    "expired_token",
    "access_denied",
    "not_found",
    "garbage",
    "hang",
    "late",
    "reset",
    "reset_after",
    "cut",
    "partial",
    "duplicate",
]
_BATCHES = ("DeleteMessageBatch", "ChangeMessageVisibilityBatch", "SendMessageBatch")


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with some requests.

    The kinds, and whether the action is carried out:

    - `throttle`, `over_limit`, `error500`, `unavailable503`, `expired_token`, `access_denied`,
      `not_found` (QueueDoesNotExist), `garbage` (status 200, and a page of HTML): it is not;
    - `hang`: it is carried out and answered only after `seconds`, if the client is still there;
      0: never;
    - `late`: carried out at once, answered after `seconds`;
    - `reset`: not carried out; the connection ends with RST. `reset_after`: carried out before;
    - `cut`: carried out; half of the answer, then the connection ends;
    - `partial`: of a batch, each entry fails with probability `rate` (InternalError); the others
      are carried out;
    - `duplicate`: carried out; messages that nobody received before go to the next receiver too.

    Args:
        action: SQS's name of the action; "*": each that the kind can befall.
        kind: what goes wrong.
        rate: the probability that a request is befallen; of `partial`, an entry.
        times: befalls at most so many requests; None: no limit.
        after: lets so many requests pass first.
        seconds: of `hang` and `late`.
        seed: of the choice.
    """

    kind: Kind
    action: str = "*"
    rate: float = 1.0
    times: int | None = None
    after: int = 0
    seconds: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"No fault is called {self.kind}: {', '.join(get_args(Kind))}.")


class Armed:
    """A fault, and what it has done.

    Args:
        fault: what goes wrong.
    """

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._random = Random(fault.seed)  # noqa: S311 - nothing secret hangs on it
        self._passed = self._befallen = 0

    def befalls(self, action: str) -> bool:
        """Decide about one request."""
        fault = self.fault
        if not self._can_befall(action) or fault.times == self._befallen:
            return False
        if self._passed < fault.after:
            self._passed += 1
            return False
        if fault.kind != "partial" and self._random.random() >= fault.rate:
            return False
        self._befallen += 1
        return True

    def fails_entry(self) -> bool:
        """Decide about one entry of a batch."""
        return self._random.random() < self.fault.rate

    def _can_befall(self, action: str) -> bool:
        if self.fault.action not in ("*", action):
            return False
        if self.fault.kind == "partial":
            return action in _BATCHES
        return self.fault.kind != "duplicate" or action == "ReceiveMessage"


def choose(armed: Iterable[Armed], action: str) -> Armed | None:
    """Give the first fault that befalls this request."""
    return next((one for one in armed if one.befalls(action)), None)
