"""The errors of SQS: their names, words and HTTP status. Nothing else."""

from __future__ import annotations

_SQS = "com.amazonaws.sqs"
_COMMON = "com.amazon.coral.service"


class SqsError(Exception):
    """SQS refuses a request.

    Args:
        name: the error's name in SQS's service model, or of the page "Common errors".
        message: what AWS says.
        query_code: the name that clients of the older protocol know, where it differs.
        status: of HTTP.
        modelled: whether SQS's service model names it.
    """

    def __init__(
        self,
        name: str,
        message: str,
        *,
        query_code: str | None = None,
        status: int = 400,
        modelled: bool = True,
    ) -> None:
        super().__init__(message)
        self.type = f"{_SQS if modelled else _COMMON}#{name}"
        self.message = message
        self.query_code = query_code or name
        self.status = status


def no_such_queue() -> SqsError:
    """A queue that is not there."""
    return SqsError(
        "QueueDoesNotExist",
        "The specified queue does not exist.",
        query_code="AWS.SimpleQueueService.NonExistentQueue",
    )


def invalid(message: str) -> SqsError:
    """A parameter that does not fit."""
    return SqsError(
        "InvalidParameterValueException",
        message,
        query_code="InvalidParameterValue",
        modelled=False,
    )


def out_of_range(value: object, parameter: str, lowest: int, highest: int) -> SqsError:
    """A number that is too small or too large."""
    return invalid(
        f"Value {value} for parameter {parameter} is invalid. "
        f"Reason: Must be between {lowest} and {highest}, if provided."
    )


def missing(parameter: str) -> SqsError:
    """A parameter that is not given."""
    return SqsError(
        "MissingRequiredParameterException",
        f"The request must contain the parameter {parameter}.",
        query_code="MissingParameter",
        modelled=False,
    )


def no_handle(handle: object) -> SqsError:
    """Text that is no receive handle of this queue."""
    return SqsError(
        "ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not a valid handle.'
    )


def not_in_flight(handle: str) -> SqsError:
    """A handle whose message is not in flight: back, received again, or deleted."""
    return invalid(
        f"Value {handle} for parameter ReceiptHandle is invalid. Reason: "
        "Message does not exist or is not available for visibility timeout change."
    )


def no_such_resource(message: str) -> SqsError:
    """An ARN or a task that is not there."""
    return SqsError("ResourceNotFoundException", message, status=404)


def unsupported(message: str) -> SqsError:
    """Something that this stand-in does not do."""
    return SqsError(
        "UnsupportedOperation",
        message,
        query_code="AWS.SimpleQueueService.UnsupportedOperation",
    )


def unknown_action() -> SqsError:
    """An action that this stand-in does not know."""
    return SqsError(
        "InvalidAction",
        "The action or operation requested is not valid. "
        "Verify that the action is typed correctly.",
        modelled=False,
    )
