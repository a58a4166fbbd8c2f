"""The doctor's calls to AWS: they only read, and a missing right is told from everything else."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from dpp_feedback.aws_errors import AwsRefused, explaining
from dpp_feedback.resources import aws_region

if TYPE_CHECKING:
    from collections.abc import Iterator

    from boto3 import Session

Service = Literal["ses", "sesv2", "sns", "sqs", "sts"]

_NAMES: dict[Service, str] = {
    "ses": "SES",
    "sesv2": "SES",
    "sns": "SNS",
    "sqs": "SQS",
    "sts": "STS",
}
# SNS has a word of its own.
_NO_RIGHT = {"AccessDenied", "AccessDeniedException", "AuthorizationError"}
# What stand-ins say of a call that they do not have.
_NO_CALL = {"InvalidAction", "UnknownAction", "UnknownOperationException", "NotImplemented"}
_NOT_THERE = {"NotFound", "NotFoundException", "NonExistentQueue", "QueueDoesNotExist"}
_PAGES = 50


class NotThere(AwsRefused):
    """What was asked about does not exist."""


class Aws:
    """Read-only calls, each in a few seconds; may be used from several threads.

    The region is that of AWS_REGION; boto3 finds credentials and `AWS_ENDPOINT_URL` by itself.
    """

    def __init__(self) -> None:
        self._clients: dict[tuple[Service, bool], Any] = {}
        self._session: Session | None = None  # it keeps what it has read of AWS's descriptions
        self._lock = Lock()  # making clients is not safe between threads, using them is

    def call(self, service: Service, operation: str, **arguments: object) -> dict[str, Any]:
        """Make one call.

        Args:
            service: boto3's name of it.
            operation: AWS's name of the call ("GetTopicAttributes").
            arguments: of the call.

        Raises:
            NotThere: AWS knows nothing of that name.
            AwsRefused, AwsUnavailable: AWS refuses, or does not answer.
            SettingError: AWS_REGION is malformed.
        """
        from botocore import xform_name
        from botocore.exceptions import ClientError

        client = self.client(service, operation)
        with explaining(operation, service=_NAMES[service]):
            try:
                said: dict[str, Any] = getattr(client, xform_name(operation))(**arguments)
            except ClientError as error:
                raised = _told(error, service, operation)
                if raised is None:
                    raise
                raise raised from None
            return said

    def pages(
        self, service: Service, operation: str, key: str, **arguments: object
    ) -> Iterator[Any]:
        """Make a call that answers in pages with a NextToken; at most 50 of them.

        Args:
            service: as `call` takes it.
            operation: as `call` takes it.
            key: where the entries stand in an answer.
            arguments: of the call.

        Raises:
            NotThere, AwsRefused, AwsUnavailable, SettingError: as `call`.
        """
        token: dict[str, object] = {}
        for _ in range(_PAGES):
            said = self.call(service, operation, **arguments, **token)
            yield from said.get(key) or []
            if not said.get("NextToken"):
                return
            token = {"NextToken": said["NextToken"]}

    def client(self, service: Service, operation: str, *, signed: bool = True) -> Any:
        """Make a client when it is first needed; an unsigned one needs no credentials.

        Raises:
            AwsRefused: one of boto3's own settings is wrong.
            SettingError: AWS_REGION is malformed.
        """
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config

        region = aws_region()
        with self._lock, explaining(operation, service=_NAMES[service]):
            if (service, signed) not in self._clients:
                # SES allows about one call a second, and asks to wait.
                attempts = 4 if _NAMES[service] == "SES" else 2
                config = Config(
                    connect_timeout=3,
                    read_timeout=5,
                    retries={"mode": "standard", "total_max_attempts": attempts},
                    **({} if signed else {"signature_version": UNSIGNED}),
                )
                self._session = self._session or boto3.Session()
                self._clients[service, signed] = self._session.client(
                    service, region_name=region, config=config
                )
            return self._clients[service, signed]


def _told(error: Any, service: Service, operation: str) -> AwsRefused | None:
    """What the doctor says about a refusal; None: aws_errors.py says it."""
    code = error.response["Error"].get("Code", "")
    if code in _NO_RIGHT and not error.operation_name.startswith("AssumeRole"):
        action = f"{_NAMES[service].lower()}:{operation}"
        return AwsRefused(f"The role may not call {action}: add it to the role's policy.")
    if code in _NO_CALL:
        return AwsRefused(
            f"What answers has no {operation}, as stand-ins for AWS have not: check "
            "AWS_ENDPOINT_URL."
        )
    if code.rpartition(".")[2] in _NOT_THERE:
        return NotThere(f"{_NAMES[service]} knows nothing of that name.")
    return None
