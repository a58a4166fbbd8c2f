"""Whether a body may come in: from one of our topics, and signed by SNS."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dpp_feedback.errors import FeedbackError
from dpp_feedback.feedback.envelope import is_sns
from dpp_feedback.feedback.events import Rejected, RejectedReason
from dpp_feedback.feedback.values import Refused, instant
from dpp_feedback.sns.signature import (
    TURN_OFF_RAW,
    require_signed,
    signature_of,
    string_to_sign,
)

if TYPE_CHECKING:
    from dpp_feedback.sns.certificates import Certificates


@dataclass(frozen=True, slots=True)
class SnsCheck:
    """Asked about each decoded body before it is read: a `parser.Admit`.

    Only the outermost object counts, and it must be the one that is read: what stands inside of it
    is signed with it. A message's age is not asked for: SQS keeps one for 14 days, its dead-letter
    queue longer, and one that comes twice counts once by its `dedupe_key`.

    Attributes:
        topics: ARNs that bodies in SNS's envelope may name; empty: any.
        certificates: None: signatures are not verified, and bodies without SNS's envelope come in.
    """

    topics: frozenset[str] = frozenset()
    certificates: Certificates | None = None

    def require_reachable(self) -> None:
        """Make sure that certificates can be had, before a message is received for nothing.

        Raises:
            AwsUnavailable: SNS's host does not answer.
        """
        if self.certificates:
            self.certificates.require_reachable()

    def __call__(self, value: object) -> Rejected | None:
        """Say why a body may not come in; None: it may.

        Args:
            value: as `envelope.outermost` returns it.

        Raises:
            AwsRefused, AwsUnavailable: a certificate cannot be had, or not now.
        """
        try:
            self._require(value)
        except Refused as refused:
            return Rejected(refused.reason, refused.detail)
        except FeedbackError:
            raise
        except Exception as error:  # a fault of ours in one body must not stop the others
            detail = f"the check of its signature failed: {type(error).__name__}"
            return Rejected(RejectedReason.PARSER_ERROR, detail)
        return None

    def _require(self, value: object) -> None:
        if not isinstance(value, dict) or not is_sns(value):
            if self.certificates:
                detail = f"the body came without SNS's envelope and signature: {TURN_OFF_RAW}"
                raise Refused(RejectedReason.UNSIGNED, detail)
            return
        # First of all: for a topic that is not ours, nothing is fetched.
        topic = value.get("TopicArn")
        if self.topics and not (isinstance(topic, str) and topic in self.topics):
            raise Refused(
                RejectedReason.TOPIC_NOT_ALLOWED,
                "its TopicArn is none of SNS_BOUNCE_ARN, SNS_COMPLAINT_ARN and SNS_DELIVERY_ARN",
            )
        if self.certificates:
            version, signature = signature_of(value)
            signed = string_to_sign(value)
            certificate = self.certificates.of(value.get("SigningCertURL"))
            certificate.require_valid(instant(value["Timestamp"]), datetime.now(UTC))
            require_signed(certificate.key, version, signature, signed)
