"""The certificates that SNS signs with in one region: each fetched once, with bounds.

A forged URL costs a fetch at most, and a flood of them two minutes.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from time import monotonic
from typing import TypeAlias

from dpp_feedback.aws_errors import AwsRefused, AwsUnavailable
from dpp_feedback.errors import PassingError
from dpp_feedback.feedback.events import RejectedReason
from dpp_feedback.feedback.values import Refused
from dpp_feedback.sns.fetch import NotServed, get
from dpp_feedback.sns.trust import Certificate, trusted

# SNS has one certificate for a region at a time, and a new one now and then.
MOST_KEPT = 8
MOST_FAILED = 64
_MOST_SECONDS = 120.0  # spent on what led nowhere, as long as that is remembered
_KEPT_SECONDS = 3600.0
_FAILED_SECONDS = 300.0
_PAUSE = 0.5  # seconds before the second attempt; twice as long before the third
_FILE = re.compile(r"/SimpleNotificationService-[0-9a-f]{16,64}\.pem")

_Failure: TypeAlias = Refused | AwsRefused | AwsUnavailable


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
        self._failed: dict[str, tuple[float, _Failure]] = {}
        self._spent = 0.0

    def require_reachable(self) -> None:
        """Make sure that SNS's host answers as itself, whatever it says; ask again for what failed.

        Raises:
            AwsUnavailable: it does not.
        """
        for url, (_, error) in list(self._failed.items()):
            if not isinstance(error, Refused):
                del self._failed[url]
        try:
            get(f"{self._origin}/")
        except NotServed:
            return

    def of(self, url: object) -> Certificate:
        """Return the certificate at a URL, if SNS serves it there and it is SNS's.

        Args:
            url: `SigningCertURL`, as it stands in a body.

        Raises:
            Refused: it is no URL of SNS in this region, or no certificate of SNS; or that cannot
                be found out, while another certificate could be had.
            AwsRefused, AwsUnavailable: that cannot be found out, or not now, and none could be
                had so far; no message is to blame.
        """
        if not isinstance(url, str) or not self._is_ours(url):
            raise Refused(
                RejectedReason.BAD_CERTIFICATE,
                "SigningCertURL is no certificate of SNS in the topic's region",
            )
        self._forget(monotonic())
        if url in self._kept:
            return self._kept[url][1]
        if url in self._failed:
            raise self._blamed(self._failed[url][1])
        if len(self._failed) >= MOST_FAILED or self._spent > _MOST_SECONDS:
            raise Refused(
                RejectedReason.BAD_CERTIFICATE,
                "SigningCertURL is unknown, and too many others have led nowhere just now",
            )
        begun = monotonic()
        try:
            found = trusted(_fetched(url), self.names, datetime.now(UTC))
        except (Refused, AwsRefused, AwsUnavailable) as error:
            now = monotonic()
            self._spent += now - begun
            self._failed[url] = now + _FAILED_SECONDS, error
            raise self._blamed(error) from None
        if len(self._kept) >= MOST_KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[url] = monotonic() + _KEPT_SECONDS, found
        return found

    def _blamed(self, error: _Failure) -> _Failure:
        """Blame a message for its URL, if it is not SNS that fails: others can be had."""
        if isinstance(error, Refused) or not self._kept:
            return error.with_traceback(None)
        detail = "SNS gives no certificate that can be judged at its SigningCertURL, but at another"
        return Refused(RejectedReason.BAD_CERTIFICATE, detail)

    def _is_ours(self, url: str) -> bool:
        # As text: what reads a URL reads some of them otherwise than what fetches it.
        return url.startswith(self._origin) and bool(_FILE.fullmatch(url[len(self._origin) :]))

    def _forget(self, now: float) -> None:
        for kept in (self._kept, self._failed):
            for url in [url for url, (until, _) in kept.items() if until < now]:
                kept.pop(url)
        if not self._failed:
            self._spent = 0.0


def _fetched(url: str) -> bytes:
    """Fetch it; a fault that may pass is tried again for some seconds.

    Raises:
        Refused: nothing is there.
        AwsUnavailable: there is no answer, not in time, or not now.
    """
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

    trying = Retrying(
        retry=retry_if_exception_type(PassingError),
        wait=wait_exponential(multiplier=_PAUSE),
        stop=stop_after_attempt(3),
        reraise=True,
    )
    try:
        return trying(get, url)
    except NotServed:
        detail = "SNS serves no certificate at its SigningCertURL"
        raise Refused(RejectedReason.BAD_CERTIFICATE, detail) from None
