"""SES: what it has counted itself, and whom it does not mail.

The only module that calls SES's own bookkeeping: send statistics, its metrics in CloudWatch, and
the account-level suppression list. Who must not be mailed by our rules is suppression.py's
business; what a difference means, feedback/reconciliation.py's.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Literal

from dpp_feedback.aws_errors import AwsUnavailable, explaining
from dpp_feedback.errors import FeedbackError
from dpp_feedback.feedback.reconciliation import SentDay

if TYPE_CHECKING:
    from boto3 import Session

_Service = Literal["ses", "sesv2", "cloudwatch"]

_PAGE = 1000  # addresses in one answer: the limit of ListSuppressedDestinations
_METRICS = {"attempts": "Send", "bounces": "Bounce", "complaints": "Complaint", "rejects": "Reject"}
_NAMES: dict[_Service, str] = {"ses": "SES", "sesv2": "SES", "cloudwatch": "CloudWatch"}


class AddressRefused(FeedbackError):
    """SES does not take this one address for its list."""


class Ses:
    """SES of one account in one region.

    Every method raises AwsRefused, AwsUnavailable: AWS refuses (the sentence names the IAM action
    that is missing), or does not answer. The send statistics are asked for once, and kept: SES
    answers GetSendStatistics about once a second.

    Args:
        session: boto3's; `connect` makes one.
        region: its name.
    """

    def __init__(self, session: Session, region: str) -> None:
        self._session = session
        self._region = region
        self._clients: dict[_Service, Any] = {}
        self._points: list[dict[str, Any]] | None = None

    @classmethod
    def connect(cls, region: str) -> Ses:
        """Prepare to call; nothing is sent yet.

        boto3 finds the credentials (under IRSA the pod's role) and `AWS_ENDPOINT_URL` by itself.

        Raises:
            AwsRefused: one of boto3's own settings is wrong.
        """
        import boto3

        with explaining("GetSendStatistics", service="SES"):
            return cls(boto3.Session(), region)

    def send_statistics(self) -> dict[date, SentDay]:
        """Ask for the last two weeks: points of 15 minutes, summed up by day (UTC).

        Returns:
            Only days on which SES counted anything. Of the first and of today it has only a part.
        """
        days: defaultdict[date, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        for point in self._send_points():
            day = days[point["Timestamp"].astimezone(UTC).date()]
            for i, name in enumerate(("DeliveryAttempts", "Bounces", "Complaints", "Rejects")):
                day[i] += point.get(name, 0)
        return {day: SentDay(*numbers) for day, numbers in sorted(days.items())}

    def attempts(self, since: datetime, until: datetime) -> int:
        """Count the mails that SES accepted in a part of the last two weeks.

        Args:
            since: aware.
            until: aware, excluded. Points of 15 minutes count by the time that SES gives them.
        """
        return sum(
            point.get("DeliveryAttempts", 0)
            for point in self._send_points()
            if since <= point["Timestamp"] < until
        )

    def metrics(self, first: date, last: date) -> dict[date, SentDay]:
        """Ask CloudWatch (namespace AWS/SES, daily sums) for days of any age.

        Args:
            first: day in UTC.
            last: day in UTC, included; at most 1,440 days in all, CloudWatch's limit.

        Returns:
            Only days for which CloudWatch has anything; it keeps days for 15 months.
        """
        days: defaultdict[date, dict[str, int]] = defaultdict(dict)
        for name, metric in _METRICS.items():
            said = self._call(
                "cloudwatch",
                "GetMetricStatistics",
                Namespace="AWS/SES",
                MetricName=metric,
                StartTime=datetime.combine(first, time(), UTC),
                EndTime=datetime.combine(last + timedelta(days=1), time(), UTC),
                Period=24 * 60 * 60,
                Statistics=["Sum"],
            )
            for point in said.get("Datapoints", []):
                days[point["Timestamp"].astimezone(UTC).date()][name] = round(point["Sum"])
        return {day: SentDay(**numbers) for day, numbers in sorted(days.items())}

    def suppressed(self) -> dict[str, str]:
        """Read the whole account-level suppression list.

        Returns:
            Address in lower case -> "BOUNCE" or "COMPLAINT".
        """
        listed: dict[str, str] = {}
        token: dict[str, str] = {}
        while True:
            said = self._call("sesv2", "ListSuppressedDestinations", PageSize=_PAGE, **token)
            for entry in said.get("SuppressedDestinationSummaries", []):
                listed[entry["EmailAddress"].lower()] = entry["Reason"]
            following = said.get("NextToken")
            if not following:
                return listed
            if following == token.get("NextToken"):
                raise AwsUnavailable(
                    "SES answers ListSuppressedDestinations with the same page again and again: "
                    "check AWS_ENDPOINT_URL and proxies."
                )
            token = {"NextToken": following}

    def suppress(self, address: str, reason: Literal["BOUNCE", "COMPLAINT"]) -> None:
        """Put an address on the list; one that is there already gets this reason.

        Raises:
            AddressRefused: SES does not take this one (BadRequestException), as of an address
                that it holds to be none.
        """
        client = self._client("sesv2", "PutSuppressedDestination")
        with explaining("PutSuppressedDestination", service="SES"):
            try:
                client.put_suppressed_destination(EmailAddress=address, Reason=reason)
            except client.exceptions.BadRequestException:
                raise AddressRefused(
                    "SES does not take an address for its suppression list, as it holds it to be "
                    "none: look at the recipient in ses_feedback_events."
                ) from None

    def _send_points(self) -> list[dict[str, Any]]:
        if self._points is None:
            self._points = self._call("ses", "GetSendStatistics").get("SendDataPoints", [])
        return self._points

    def _call(self, service: _Service, operation: str, **arguments: object) -> dict[str, Any]:
        from botocore import xform_name

        client = self._client(service, operation)
        with explaining(operation, service=_NAMES[service]):
            said: dict[str, Any] = getattr(client, xform_name(operation))(**arguments)
            return said

    def _client(self, service: _Service, operation: str) -> Any:
        """Make a client when it is first needed: each reads a description of megabytes."""
        from botocore.config import Config

        if service not in self._clients:
            config = Config(
                connect_timeout=3,
                read_timeout=10,
                # SES allows few calls a second for its lists, and asks to wait.
                retries={"mode": "standard", "total_max_attempts": 4},
            )
            with explaining(operation, service=_NAMES[service]):
                self._clients[service] = self._session.client(
                    service, region_name=self._region, config=config
                )
        return self._clients[service]
