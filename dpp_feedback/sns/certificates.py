"""The certificates that SNS signs with in one region: each fetched once, with bounds.

A forged URL costs a fetch at most, and a flood of them costs few.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from time import monotonic

from dpp_feedback.errors import PassingError
from dpp_feedback.feedback.events import RejectedReason
from dpp_feedback.feedback.values import Refused
from dpp_feedback.sns.fetch import NotServed, get
from dpp_feedback.sns.trust import Certificate, trusted

# SNS has one certificate for a region at a time, and a new one now and then.
MOST_KEPT = 8
MOST_REFUSED = 8
_KEPT_SECONDS = 3600.0
_REFUSED_SECONDS = 300.0
_PAUSE = 0.5  # seconds before the second attempt; twice as long before the third
_FILE = re.compile(r"/SimpleNotificationService-[0-9a-f]{16,64}\.pem")


class Certificates:
    """The certificates of one region.

    Args:
        region: of the topics. Those of China, GovCloud and the rest of the world are known.
    """

    def __init__(self, region: str) -> None:
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        self._origin = f"https://sns.{region}.{suffix}"
        # What AWS's SDK for Java 2 expects (SnsHostProvider): the first, the second in regions
        # that one opts in to, the third in China and GovCloud, whose east signs as its west.
        self.names = [
            "sns.amazonaws.com",
            f"sns-signing.{region}.{suffix}",
            f"sns-{region}.{suffix}",
            f"sns.{region}.{suffix}",
        ]
        if region.startswith("us-gov-"):
            self.names.append("sns-us-gov-west-1.amazonaws.com")
        self._kept: dict[str, tuple[float, Certificate]] = {}
        self._refused: dict[str, tuple[float, str]] = {}

    def require_reachable(self) -> None:
        """Make sure that SNS's host answers as itself, whatever it says.

        Raises:
            AwsUnavailable: it does not.
        """
        try:
            get(f"{self._origin}/")
        except NotServed:
            return

    def of(self, url: object) -> Certificate:
        """Return the certificate at a URL, if SNS serves it there and it is SNS's.

        Args:
            url: `SigningCertURL`, as it stands in a body.

        Raises:
            Refused: it is no URL of SNS in this region, or no certificate of SNS.
            AwsRefused, AwsUnavailable: that cannot be found out, or not now; no message is to
                blame.
        """
        if not isinstance(url, str) or not self._is_ours(url):
            raise Refused(
                RejectedReason.BAD_CERTIFICATE,
                "SigningCertURL is no certificate of SNS in the topic's region",
            )
        self._forget(monotonic())
        if url in self._kept:
            return self._kept[url][1]
        if url in self._refused:
            raise Refused(RejectedReason.BAD_CERTIFICATE, self._refused[url][1])
        if len(self._refused) >= MOST_REFUSED:
            raise Refused(
                RejectedReason.BAD_CERTIFICATE,
                "SigningCertURL is unknown, and too many others have led nowhere just now",
            )
        try:
            found = trusted(_fetched(url), self.names, datetime.now(UTC))
        except (NotServed, Refused) as error:
            detail = str(error) or "SNS serves no certificate at its SigningCertURL"
            self._refused[url] = monotonic() + _REFUSED_SECONDS, detail
            raise Refused(RejectedReason.BAD_CERTIFICATE, detail) from None
        if len(self._kept) >= MOST_KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[url] = monotonic() + _KEPT_SECONDS, found
        return found

    def _is_ours(self, url: str) -> bool:
        # As text: what reads a URL reads some of them otherwise than what fetches it.
        return url.startswith(self._origin) and bool(_FILE.fullmatch(url[len(self._origin) :]))

    def _forget(self, now: float) -> None:
        for kept in (self._kept, self._refused):
            for url in [url for url, (until, _) in kept.items() if until < now]:
                kept.pop(url)


def _fetched(url: str) -> bytes:
    """Fetch it; a fault that may pass is tried again for some seconds."""
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

    trying = Retrying(
        retry=retry_if_exception_type(PassingError),
        wait=wait_exponential(multiplier=_PAUSE),
        stop=stop_after_attempt(3),
        reraise=True,
    )
    return trying(get, url)
