"""SES: whether what it knows comes to our topics, and whether it mails at all.

The runs need none of these calls, so a right that is missing is a warning.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from dpp_feedback.aws_errors import AwsRefused
from dpp_feedback.doctor.finding import Examination, Finding, passed, warned
from dpp_feedback.doctor.queue import TOPICS, WIRE
from dpp_feedback.masking import masked
from dpp_feedback.resources import topic_arn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dpp_feedback.doctor.aws import Aws

_AT_ONCE = 100  # identities in one call: the limit of GetIdentityNotificationAttributes
_MOST = 1000  # identities; SES answers about one such call a second
_SETS = 20  # configuration sets, for the same reason
_SHOWN = 3
_BY_SETTING = dict(zip(TOPICS, ("Bounce", "Complaint", "Delivery"), strict=True))


def examinations(aws: Aws) -> list[Examination]:
    """Look at identities, at the way of their notifications, and at the account."""
    return [
        Examination("SES", "identities", partial(_identities, aws), unknown="warn"),
        Examination("SES", "notifications", partial(_notifications, aws), unknown="warn"),
        Examination("SES", "account", partial(_account, aws), unknown="warn"),
    ]


def _identities(aws: Aws) -> Iterator[Finding]:
    check, names = "identities", _names(aws)
    if not names:
        yield warned(
            check,
            "There is none: SES sends no mail.",
            "Verify a domain in this region, or correct AWS_REGION.",
        )
        return
    verified = set()
    for some in _hundreds(names):
        said = aws.call("ses", "GetIdentityVerificationAttributes", Identities=some)
        for name, state in said.get("VerificationAttributes", {}).items():
            if state.get("VerificationStatus") == "Success":
                verified.add(name)
    if unverified := [name for name in names if name not in verified]:
        yield warned(
            check,
            f"Not verified: {_listed(unverified)}.",
            "Set the DNS records that SES shows for them, or delete them.",
        )
    if verified:
        yield passed(check, f"Verified: {_listed(sorted(verified))}.")


def _notifications(aws: Aws) -> Iterator[Finding]:
    check = "notifications"
    ours = {arn: kind for name, kind in _BY_SETTING.items() if (arn := topic_arn(name))}
    if not ours:
        yield warned(
            check,
            "No topic is named: whether SES publishes to them is not known.",
            f"Set {', '.join(TOPICS)}.",
        )
        return
    kinds, refused = set[str](), list[str]()
    ways = {"identities": _topics_of_identities, "configuration sets": _topics_of_sets}
    for way, topics in ways.items():
        try:
            came = {(kind, topic) for kind, topic in topics(aws) if topic in ours}
        except AwsRefused as error:
            refused.append(str(error))
            continue
        kinds |= {kind for kind, _ in came}
        if came:
            told = ", ".join(sorted({kind for kind, _ in came}))
            yield passed(check, f"By {way}: {told}.")
    for sentence in refused:
        yield Finding(check, "warn", sentence)
    missing = [kind for kind in _BY_SETTING.values() if kind not in kinds]
    if missing and not refused:
        yield warned(
            check,
            f"Neither an identity nor a configuration set publishes {', '.join(missing)} to our "
            "topics.",
            f"{WIRE} Another account or region may do it.",
        )


def _topics_of_identities(aws: Aws) -> Iterator[tuple[str, str]]:
    """Kind and topic of each notification that is wired, identity by identity."""
    for some in _hundreds(_names(aws)):
        said = aws.call("ses", "GetIdentityNotificationAttributes", Identities=some)
        for wired in said.get("NotificationAttributes", {}).values():
            for kind in _BY_SETTING.values():
                if topic := wired.get(f"{kind}Topic"):
                    yield kind, topic


def _topics_of_sets(aws: Aws) -> Iterator[tuple[str, str]]:
    """The same of each enabled event destination; its kinds in the words of notifications."""
    sets = aws.pages("sesv2", "ListConfigurationSets", "ConfigurationSets")
    for name in islice(sets, _SETS):
        said = aws.call("sesv2", "GetConfigurationSetEventDestinations", ConfigurationSetName=name)
        for destination in said.get("EventDestinations", []):
            topic = destination.get("SnsDestination", {}).get("TopicArn")
            if topic and destination.get("Enabled"):
                for kind in destination.get("MatchingEventTypes", []):
                    yield kind.capitalize(), topic


def _account(aws: Aws) -> Iterator[Finding]:
    said = aws.call("sesv2", "GetAccount")
    if said.get("ProductionAccessEnabled"):
        yield passed("sandbox", "The account is out of it.")
    else:
        yield warned(
            "sandbox",
            "The account is in it: SES mails verified addresses and its simulator only.",
            "Request production access in SES's console, in this region.",
        )
    status = said.get("EnforcementStatus", "HEALTHY")
    if not said.get("SendingEnabled"):
        yield warned(
            "sending",
            f"It is off (EnforcementStatus {status}): SES sends no mail.",
            "See SES's console and AWS's mail about it.",
        )
    elif status != "HEALTHY":
        yield warned(
            "sending",
            f"EnforcementStatus is {status}: AWS may pause sending.",
            "See SES's console and AWS's mail about it, and the report's rates.",
        )
    else:
        yield passed("sending", "It is on, and the account is HEALTHY.")


def _names(aws: Aws) -> list[str]:
    return list(islice(aws.pages("ses", "ListIdentities", "Identities"), _MOST))


def _hundreds(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _AT_ONCE):
        yield names[start : start + _AT_ONCE]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    shown = ", ".join(masked(name) for name in names[:_SHOWN])
    return f"{shown} and {more:,} more" if more > 0 else shown
