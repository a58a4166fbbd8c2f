"""How people are told: an SNS topic, a Slack webhook, mail through SES. Not what, and not when.

A channel that fails never hides another. No error and no log line holds the webhook's URL, which
lets anybody write into the Slack channel, or a mail address.
"""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import getaddresses
from typing import TYPE_CHECKING, Any, Literal
from unicodedata import normalize

from dpp_feedback.aws_errors import explaining
from dpp_feedback.concurrently import answers
from dpp_feedback.errors import FeedbackError, PassingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.config import Config

    from dpp_feedback.alerting.alert import Notice

SETTINGS = (
    "SES_FEEDBACK_ALERT_TOPIC_ARN, SES_FEEDBACK_SLACK_WEBHOOK_URL, or SES_FEEDBACK_MAIL_FROM with "
    "SES_FEEDBACK_MAIL_TO"
)
_SUBJECT = 99  # SNS wants less than 100 characters
_SLACK_TEXT = 3_500  # Slack cuts beyond 4,000
_ATTEMPTS = 2
_WITHIN_SECONDS = 20  # two attempts of 3 + 5 seconds, and the pod's role
_WEBHOOK = "SES_FEEDBACK_SLACK_WEBHOOK_URL"


class NobodyTold(PassingError):
    """No channel took the message; each says why."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one message.

    Attributes:
        by: channels that took it: "SNS", "Slack", "mail".
        failed: why the others did not, by channel.
    """

    by: tuple[str, ...]
    failed: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Where alerts and reports go.

    Attributes:
        region: of SES.
        topic_arn: of an SNS topic, in whatever region.
        slack_webhook_url: of a Slack "incoming webhook".
        mail_from: an address that SES may send from.
        mail_to: addresses, with commas between them. Mail is sent when both are set.
    """

    region: str
    topic_arn: str | None = None
    slack_webhook_url: str | None = field(default=None, repr=False)
    mail_from: str | None = field(default=None, repr=False)
    mail_to: str | None = field(default=None, repr=False)

    @property
    def any(self) -> bool:
        """Whether there is one at all."""
        return bool(self.topic_arn or self.slack_webhook_url or (self.mail_from and self.mail_to))

    def send_alert(self, notice: Notice) -> Sent:
        """Send one message about an alert through all channels.

        Raises:
            NobodyTold: every channel failed.
        """
        mail = EmailMessage()
        mail["Subject"] = _one_line(f"[SES feedback] {notice.headline}")
        mail.set_content(notice.text)
        return self._send(notice.headline, notice.text, mail)

    def send_report(self, headline: str, message: EmailMessage, link: str) -> Sent:
        """Send a report: whole by mail, its headline and link by SNS and Slack.

        Args:
            headline: one sentence.
            message: the mail; sender and recipients are filled in.
            link: where the report lies: an address or a path.

        Raises:
            NobodyTold: every channel failed.
        """
        return self._send(headline, f"{headline}\n{link}", message)

    def _send(self, headline: str, text: str, mail: EmailMessage) -> Sent:
        ways: dict[str, Callable[[], None]] = {}
        if arn := self.topic_arn:
            ways["SNS"] = lambda: _publish(arn, headline, text)
        if url := self.slack_webhook_url:
            ways["Slack"] = lambda: _post(url, text)
        if (sender := self.mail_from) and (to := self.mail_to):
            ways["mail"] = lambda: _mail(sender, to, mail, self.region)
        came = answers({name: _again(way) for name, way in ways.items()}, _WITHIN_SECONDS)
        failed = {name: str(said) for name, said in came.items() if said is not None}
        if len(failed) == len(ways):
            whys = " ".join(f"{name}: {why}" for name, why in failed.items())
            raise NobodyTold(f"Nobody could be told. {whys or f'No channel is set: {SETTINGS}.'}")
        return Sent(tuple(name for name in ways if name not in failed), failed)


def _again(way: Callable[[], None]) -> Callable[[], None]:
    from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

    return retry(
        retry=retry_if_exception_type(PassingError),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_fixed(1),
        reraise=True,
    )(way)


def _publish(topic_arn: str, headline: str, text: str) -> None:
    setting = "SES_FEEDBACK_ALERT_TOPIC_ARN"
    parts = topic_arn.split(":")
    if len(parts) != 6 or parts[2] != "sns":  # ARN: partition, service, region, account, name
        raise FeedbackError(
            f"{setting} is no ARN of a topic: write arn:aws:sns:<region>:<account>:<topic>."
        )
    with explaining("Publish", setting, topic_arn, service="SNS"):
        client = _client("sns", parts[3])
        client.publish(TopicArn=topic_arn, Subject=_subject(headline), Message=text)


def _post(url: str, text: str) -> None:
    import requests

    # Slack reads these three as markup: <!channel> would wake everybody.
    # Slack's page "Formatting text for app surfaces".
    escaped = text[:_SLACK_TEXT].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    failure: FeedbackError | None = None
    try:
        said = requests.post(
            url,
            json={"text": escaped, "unfurl_links": False},
            timeout=(3.05, 5),
            allow_redirects=False,  # whoever redirects is not Slack
        )
    except (requests.ConnectionError, requests.Timeout) as error:
        failure = PassingError(
            f"Slack does not answer ({type(error).__name__}): check the network, and {_WEBHOOK}."
        )
    except (requests.RequestException, ValueError):
        failure = FeedbackError(
            f"{_WEBHOOK} is no address: copy it from Slack's page of the incoming webhook."
        )
    if failure:
        raise failure  # out here, so that no error hangs on it that quotes the address
    if said.status_code == 200:
        return
    if said.status_code == 429 or said.status_code >= 500:
        raise PassingError(f"Slack does not take messages now ({said.status_code}).")
    # Slack answers with one word: no_service, channel_is_archived, invalid_payload.
    word = said.text.strip() if re.fullmatch(r"\s*[a-z_]{1,50}\s*", said.text) else "no reason"
    raise FeedbackError(
        f"Slack refused ({said.status_code}, {word}): check that the incoming webhook of "
        f"{_WEBHOOK} and its channel still exist."
    )


def _mail(sender: str, to: str, message: EmailMessage, region: str) -> None:
    mail = deepcopy(message)
    addresses = [address for _, address in getaddresses([to]) if address]
    for header in ("From", "To", "Auto-Submitted"):
        del mail[header]
    # One line each: a line break would begin a header of its own.
    mail["From"], mail["To"] = _one_line(sender), _one_line(to)
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office reply, please
    with explaining("SendRawEmail", "SES_FEEDBACK_MAIL_FROM", service="SES"):
        client = _client("ses", region)
        client.send_raw_email(
            Destinations=addresses, RawMessage={"Data": mail.as_bytes(policy=SMTP)}
        )


def _client(service: Literal["sns", "ses"], region: str) -> Any:
    import boto3

    # A session of its own: boto3's default one is not safe between threads.
    return boto3.Session().client(service, region_name=region, config=_config())


def _config() -> Config:
    from botocore.config import Config

    return Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 1})


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _subject(headline: str) -> str:
    plain = normalize("NFKD", headline).encode("ascii", "ignore").decode()
    return _one_line(plain)[:_SUBJECT].strip() or "SES feedback"
