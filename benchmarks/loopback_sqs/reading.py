"""What requests hold: parameters, and the entries of a batch. No I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from benchmarks.loopback_sqs.errors import SqsError, missing, out_of_range

if TYPE_CHECKING:
    from collections.abc import Callable

    Request = dict[str, Any]

_BATCH = 10
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


def whole(
    request: Request, parameter: str, lowest: int, highest: int, usual: int | None
) -> int | None:
    """Read a whole number within bounds; `usual` if it is not given.

    Raises:
        SqsError: InvalidParameterValue.
    """
    value = request.get(parameter)
    if value is None:
        return usual
    if not isinstance(value, int) or not lowest <= value <= highest:
        raise out_of_range(value, parameter, lowest, highest)
    return value


def in_batch(request: Request, act: Callable[[Request], dict[str, Any]]) -> dict[str, Any]:
    """Do something with each entry; one that is refused stops no other.

    Raises:
        SqsError: the batch is empty or too large, or an id is wrong or not its own.
    """
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for entry in _entries(request):
        try:
            done.append({"Id": entry["Id"], **act(entry)})
        except SqsError as error:
            failed.append(
                {
                    "Id": entry["Id"],
                    "SenderFault": True,
                    "Code": error.query_code,
                    "Message": error.message,
                }
            )
    said = {"Successful": done, "Failed": failed}
    return {name: entries for name, entries in said.items() if entries}


def _entries(request: Request) -> list[Request]:
    entries: list[Request] = request.get("Entries") or []
    ids = [entry.get("Id", "") for entry in entries]
    if not entries:
        raise _refused("EmptyBatchRequest", "There should be at least one entry in the request.")
    if len(entries) > _BATCH:
        raise _refused(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are {_BATCH}. You have sent {len(entries)}.",
        )
    if not all(_ENTRY_ID.fullmatch(one) for one in ids):
        raise _refused(
            "InvalidBatchEntryId",
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
            "It can be at most 80 letters long.",
        )
    if len(set(ids)) < len(ids):
        raise _refused("BatchEntryIdsNotDistinct", "Two or more entries have the same Id.")
    return entries


def _refused(name: str, message: str) -> SqsError:
    return SqsError(name, message, query_code=f"AWS.SimpleQueueService.{name}")


def text(request: Request, parameter: str) -> str:
    """Read a text that must be there.

    Raises:
        SqsError: MissingParameter.
    """
    value = request.get(parameter)
    if not isinstance(value, str) or not value:
        raise missing(parameter)
    return value


def body_of(request: Request) -> bytes:
    """Give a message body as it counts: in UTF-8."""
    return str(request.get("MessageBody") or "").encode("utf-8", "surrogatepass")
