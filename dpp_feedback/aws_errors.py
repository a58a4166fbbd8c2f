"""boto3's errors as sentences for a person. Nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpp_feedback.errors import FeedbackError, PassingError

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

_NO_QUEUE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_NO_LOGIN = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_NO_RIGHT = {"AccessDenied", "AccessDeniedException"}
_NOT_NOW = {"RequestThrottled", "Throttling", "ThrottlingException", "ServiceUnavailable"}


class AwsRefused(FeedbackError):
    """AWS refuses, and will refuse again until somebody changes something."""


class AwsUnavailable(PassingError):
    """AWS does not answer, or not now."""


def explained(
    error: BotoCoreError | ClientError, operation: str, setting: str, url: str
) -> FeedbackError:
    """Say what a failed call means.

    Args:
        error: what boto3 raised.
        operation: SQS's name of the call ("ReceiveMessage").
        setting: the setting that names the queue.
        url: its value.
    """
    from botocore.exceptions import (
        ClientError,
        ConnectionError,  # noqa: A004 - botocore's own
        HTTPClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )

    if isinstance(error, ClientError):
        return _refusal(error, operation, setting, url)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return AwsRefused(
            "No AWS credentials: give the pod's service account its role (IRSA), or start the "
            "local stack with `dpp-feedback up`."
        )
    if isinstance(error, ConnectionError | HTTPClientError):  # refused, timeout, reset, TLS
        return AwsUnavailable(
            f"SQS does not answer ({type(error).__name__}): check AWS_REGION, AWS_ENDPOINT_URL and "
            "the network; on a laptop start the local stack with `dpp-feedback up`."
        )
    return AwsRefused(f"{operation} failed before it was sent: {error}")


def _refusal(error: ClientError, operation: str, setting: str, url: str) -> FeedbackError:
    code = error.response["Error"].get("Code", "unknown")
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code in _NO_QUEUE:
        return AwsRefused(
            f"{setting} names a queue that does not exist: {url}. "
            "Check the name, the account and AWS_REGION."
        )
    if code in _NO_LOGIN:
        return AwsRefused(
            f"AWS does not accept the credentials ({code}): check the role of the pod's service "
            "account, or log in again."
        )
    if code in _NO_RIGHT:
        return AwsRefused(
            f"The role may not call sqs:{operation} on {url}: add it to the role's policy, or "
            f"correct {setting}."
        )
    if code in _NOT_NOW or status >= 500:
        return AwsUnavailable(
            f"SQS answered {operation} with {code} ({status}): it is tried again."
        )
    return AwsRefused(f"SQS refused {operation} on {url}: {code}. Check {setting}.")
