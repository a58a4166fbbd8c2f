"""Who acts on the dead-letter queue, for the record. Nothing else."""

from __future__ import annotations

import getpass
import re
import socket
from contextvars import ContextVar
from typing import Any

from dpp_feedback.aws_errors import explaining, not_aws
from dpp_feedback.errors import FeedbackError
from dpp_feedback.masking import masked

NAMED: ContextVar[str | None] = ContextVar("named", default=None)
"""Who a person says they are: in a pod all of them have one role."""

_LOGIN = re.compile(r"[\w.-]+@[\w-]+")  # jane@laptop: no mail reaches a host without a dot
_SECONDS = 3  # an act does not wait long for a name


def actor(region: str) -> str:
    """Say who acts: the ARN of the AWS credentials, or else the login and the machine.

    After the name in `NAMED`, if there is one.

    boto3 finds the credentials and `AWS_ENDPOINT_URL` by itself. Nobody needs a right to ask
    STS who they are.

    Args:
        region: whose STS is asked.

    Returns:
        "arn:aws:sts::123456789012:assumed-role/operator/jane", or "jane@laptop" where STS does not
        answer within 3 seconds.
    """
    try:
        who = _arn(region)
    except FeedbackError:
        who = f"{_login()}@{socket.gethostname()}"
    named = NAMED.get()
    return f"{named}, {who}" if named else who


def without_address(who: str) -> str:
    """Mask a mail address in it, as the session of an AWS login often is one.

    Roles stay, and so does a login at a host.
    """
    parts = who.split("/")
    return "/".join(part if _LOGIN.fullmatch(part) else masked(part) for part in parts)


def _arn(region: str) -> str:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=_SECONDS,
        read_timeout=_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    with explaining("GetCallerIdentity", service="STS"):
        client: Any = boto3.Session().client("sts", region_name=region, config=config)
        arn = client.get_caller_identity().get("Arn")
    if not arn:
        raise not_aws("GetCallerIdentity", service="STS")
    return str(arn)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        return "unknown"
