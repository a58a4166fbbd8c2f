"""boto3's errors as sentences for a person. Nothing else."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dpp_feedback.errors import FeedbackError, PassingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.exceptions import ClientError

_LOGIN = "check the role of the pod's service account, or log in again."
# What the page "Common errors" of each service and SQS's calls name, and what to do about each.
_ADVICE = {
    "AWS.SimpleQueueService.OverLimit": "120,000 messages are in flight: find out why runs fail.",
    "OverLimit": "120,000 messages are in flight: find out why runs fail.",
    "ExpiredToken": f"the credentials have expired: {_LOGIN}",
    "ExpiredTokenException": f"the credentials have expired: {_LOGIN}",
    "InvalidClientTokenId": f"AWS does not know the credentials: {_LOGIN}",
    "UnrecognizedClientException": f"AWS does not know the credentials: {_LOGIN}",
    "SignatureDoesNotMatch": f"the credentials do not fit, or this clock is wrong: {_LOGIN}",
    "InvalidSignatureException": f"the credentials do not fit, or this clock is wrong: {_LOGIN}",
    "RequestExpired": "this machine's clock is wrong: set it.",
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it.",
}
_NO_QUEUE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_NO_RIGHT = {"AccessDenied", "AccessDeniedException"}
_NOT_NOW = {
    "RequestThrottled",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "KMS.ThrottlingException",
}


class AwsRefused(FeedbackError):
    """AWS refuses, and will refuse again until somebody changes something."""


class AwsUnavailable(PassingError):
    """AWS does not answer, or not now."""


@contextmanager
def explaining(
    operation: str, setting: str = "", url: str = "", *, service: str = "SQS"
) -> Iterator[None]:
    """Turn what boto3 raises inside into a sentence.

    Args:
        operation: AWS's name of the call ("ReceiveMessage").
        setting: the setting that names what is called (a queue), where there is one.
        url: its value.
        service: whose call it is. In lower case it is what an IAM action begins with:
            "CloudWatch" needs the right cloudwatch:GetMetricStatistics.

    Raises:
        AwsRefused, AwsUnavailable: the call failed.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    # botocore knows none as an error of its own. KeyError: an answer without what it must hold;
    # AttributeError: botocore reads an error that is JSON and no object.
    except (ResponseParserError, KeyError, AttributeError):
        raise not_aws(operation, service=service) from None
    # The last two: boto3 reads its settings, the token of the pod's role, and an answer.
    except (BotoCoreError, ClientError, OSError, ValueError) as error:
        raise _explained(error, operation, setting, url, service) from None


def _explained(
    error: Exception, operation: str, setting: str, url: str, service: str
) -> FeedbackError:
    from botocore.exceptions import (
        ClientError,
        ConnectionError,  # noqa: A004 - botocore's own
        HTTPClientError,
        NoCredentialsError,
        PartialCredentialsError,
        SSLError,
    )

    if isinstance(error, ClientError):
        return _refusal(error, operation, setting, url, service)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return AwsRefused(
            "No AWS credentials: give the pod's service account its role (IRSA), or start the "
            "local stack with `dpp-feedback up`."
        )
    if isinstance(error, SSLError):
        return AwsUnavailable(
            f"{service} does not answer as itself (SSLError): check AWS_ENDPOINT_URL, and name the "
            "certificates of a proxy that looks into TLS in AWS_CA_BUNDLE."
        )
    if isinstance(error, ConnectionError | HTTPClientError):  # refused, timeout, reset
        return AwsUnavailable(
            f"{service} does not answer ({type(error).__name__}): check AWS_REGION, "
            "AWS_ENDPOINT_URL and the network; on a laptop start the local stack with "
            "`dpp-feedback up`."
        )
    said = f": {' '.join(str(error).split())}" if _quotes_no_value(error) else ""
    return AwsRefused(
        f"boto3 cannot call {service} ({type(error).__name__}{said}): check the AWS_... "
        "variables, AWS_ENDPOINT_URL and AWS_WEB_IDENTITY_TOKEN_FILE among them."
    )


def _quotes_no_value(error: Exception) -> bool:
    """Whether the text of an error holds neither credentials nor what was to be sent.

    A key or token with a line break in it makes "Invalid header value", and the value with it;
    ParamValidationError names what does not fit.
    """
    from botocore.exceptions import BotoCoreError, ParamValidationError

    if isinstance(error, ValueError):
        return str(error).startswith("Invalid endpoint: ")
    return isinstance(error, BotoCoreError | OSError) and not isinstance(
        error, ParamValidationError
    )


def not_aws(operation: str, *, service: str = "SQS") -> AwsUnavailable:
    """Say that something else than AWS answered: a proxy, or the portal of a network."""
    return AwsUnavailable(
        f"What answered {operation} does not speak as {service} does: check AWS_ENDPOINT_URL and "
        "proxies."
    )


def _refusal(
    error: ClientError, operation: str, setting: str, url: str, service: str
) -> FeedbackError:
    code = error.response["Error"].get("Code", "unknown")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if error.operation_name.startswith("AssumeRole"):  # boto3 asks STS first
        return AwsRefused(
            f"AWS does not let the pod take its role ({error.operation_name}: {code}): check "
            "AWS_ROLE_ARN, and that the role's trust policy names this service account."
        )
    if code in _NO_QUEUE:
        return AwsRefused(
            f"{setting} names a queue that does not exist: {url}. "
            "Check the name, the account and AWS_REGION."
        )
    if code in _ADVICE:
        return AwsRefused(f"{service} refused {operation} ({code}): {_ADVICE[code]}")
    if code in _NOT_NOW or status >= 500:
        return AwsUnavailable(f"{service} cannot do {operation} now: {code} ({status}). Try again.")
    if code.startswith("KMS."):
        return AwsRefused(
            f"SQS refused {operation} ({code}): the queue is encrypted; let the role use its key "
            "(kms:Decrypt)."
        )
    where = f" on {url}" if url else ""
    if code in _NO_RIGHT:
        instead = f", or correct {setting}" if setting else ""
        return AwsRefused(
            f"The role may not call {service.lower()}:{operation}{where}: add it to the role's "
            f"policy{instead}."
        )
    return AwsRefused(
        f"{service} refused {operation}{where}: {code}. Check {setting or 'AWS_REGION'}."
    )
