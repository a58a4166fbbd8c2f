"""The clock of this machine against those of AWS and of the database."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING

from dpp_feedback.aws_errors import AwsUnavailable, explaining
from dpp_feedback.connection import connect
from dpp_feedback.connection import explaining as explaining_database
from dpp_feedback.doctor.finding import Examination, Finding, failed, passed, warned
from dpp_feedback.resources import database_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback.doctor.aws import Aws

_SMALL = timedelta(seconds=5)
_REFUSED = timedelta(minutes=5)  # AWS takes no signature that is further off
_SET = "Set the clock of this machine (chrony, systemd-timesyncd); in a pod that of its node."


def examinations(aws: Aws) -> list[Examination]:
    """Compare the clocks."""
    return [
        Examination("clock", "AWS", partial(_aws, aws), unknown="warn"),
        Examination("clock", "database", _database, unknown="warn"),
    ]


def judged(check: str, ahead: timedelta, *, signs: bool) -> Finding:
    """Judge how far the clock of this machine is ahead of another; behind is negative.

    Args:
        check: whose clock the other is.
        ahead: how far.
        signs: whether the other refuses signatures that are far off.
    """
    off = abs(ahead)
    seconds = round(off.total_seconds())
    if off <= _SMALL:
        return passed(check, f"At most {seconds + 1} s apart.")
    found = f"This machine is {seconds:,} s {'ahead' if ahead > timedelta() else 'behind'}."
    if off <= _REFUSED:
        return warned(check, found, _SET)
    if signs:
        return failed(check, f"{found} Over five minutes, AWS refuses signatures.", _SET)
    return failed(check, found, f"{_SET} Or the database's is wrong: then set that.")


def _aws(aws: Aws) -> Iterator[Finding]:
    """Ask STS without a signature: it refuses, and its answer has a date all the same."""
    from botocore.exceptions import ClientError

    client = aws.client("sts", "GetCallerIdentity", signed=False)
    before = datetime.now(UTC)
    with explaining("GetCallerIdentity", service="STS"):
        try:
            said = client.get_caller_identity()
        except ClientError as refused:
            said = refused.response
    middle = before + (datetime.now(UTC) - before) / 2
    try:
        date = parsedate_to_datetime(said["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, TypeError, ValueError):
        raise AwsUnavailable(
            "The answer of STS has no Date: check AWS_ENDPOINT_URL and proxies."
        ) from None
    # The header counts whole seconds.
    yield judged("AWS", middle - (date + timedelta(milliseconds=500)), signs=True)


def _database() -> Iterator[Finding]:
    with closing(connect(database_url(), "dpp_feedback doctor")) as connection:
        before = datetime.now(UTC)
        with explaining_database("Asking the time"):
            row = connection.execute("SELECT clock_timestamp()").fetchone()
        middle = before + (datetime.now(UTC) - before) / 2
    if row:
        yield judged("database", middle - row[0], signs=False)
