"""Publishes simulated traffic to the local stack as SES would, and sends mail to its simulator.

What the traffic is, is traffic.py's business; whether all of it arrived, account.py's.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from time import sleep
from typing import TYPE_CHECKING, TypeAlias

from dpp_feedback.local import clients
from dpp_feedback.local.errors import StackError
from dpp_feedback.local.ledger import Mailed, Published, Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mypy_boto3_ses import SESClient
    from mypy_boto3_sns.type_defs import BatchResultErrorEntryTypeDef
    from mypy_boto3_sqs.type_defs import BatchResultErrorEntryTypeDef as SqsErrorTypeDef

    from dpp_feedback.local.traffic import Notification

_BATCH = 10  # messages in one call: the limit of SNS and SQS
_BATCH_BYTES = 256 * 1024  # bodies of one call together: the limit of SNS
_ATTEMPTS = 4

# What SES, and the stand-in too, says of mail to the mailbox simulator. `ooto@` is not among
# them: the stand-in only delivers it.
_SIMULATOR = {
    "bounce@simulator.amazonses.com": ("Bounce",),
    "complaint@simulator.amazonses.com": ("Delivery", "Complaint"),
    "success@simulator.amazonses.com": ("Delivery",),
    "suppressionlist@simulator.amazonses.com": ("Bounce",),
}

# Puts numbered messages somewhere. Returns the SNS message id (None from a queue) of those that
# were taken, and why others were not.
_Put: TypeAlias = "Callable[[Mapping[int, Notification]], tuple[dict[int, str | None], str]]"
_Outcome: TypeAlias = tuple[list[Sent], int, str]  # sent, how many were not, why


class PublishFailed(StackError):
    """Some messages could not be published, even when tried again."""

    def __init__(self, failed: int, why: str, published: int) -> None:
        super().__init__(
            f"{failed} messages could not be published, {published} were: {why.rstrip('.')}. "
            "Check that the local stack is up, and try again."
        )


def publish(
    notifications: Iterable[Notification],
    settings: Mapping[str, str],
    *,
    raw: bool = False,
    progress: Callable[[Published], None] | None = None,
) -> Published:
    """Publish to the three topics, ten messages a call, from several threads.

    Args:
        notifications: from `traffic`; only a few batches are held in memory at a time.
        settings: of the local stack: SNS_BOUNCE_ARN, SNS_COMPLAINT_ARN, SNS_DELIVERY_ARN (with
            `raw`: SQS_QUEUE_URL), AWS_REGION, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and
            AWS_SECRET_ACCESS_KEY.
        raw: put the bodies into the queue without SNS's envelope, as raw delivery does.
        progress: called from this thread with what was newly published, even when the call ends
            with an error or is interrupted: for `Ledger.append`.

    Raises:
        PublishFailed: some could not be published.
    """
    puts = _queue(settings) if raw else _topics(settings)
    sent: list[Sent] = []
    failed, why = 0, ""

    def settle(outcome: _Outcome) -> None:
        nonlocal failed, why
        sent.extend(outcome[0])
        failed, why = failed + outcome[1], outcome[2] or why
        if progress:
            progress(Published(tuple(outcome[0])))

    with ThreadPoolExecutor(clients.THREADS) as pool:
        running: deque[Future[_Outcome]] = deque()
        try:
            for put, batch in _batches(notifications, puts):
                if failed:
                    break
                running.append(pool.submit(_deliver, put, batch))
                if len(running) > 2 * clients.THREADS:
                    settle(running.popleft().result())
        finally:
            for future in running:
                settle(future.result())
    if failed:
        raise PublishFailed(failed, why, len(sent))
    return Published(tuple(sent))


def mail(settings: Mapping[str, str]) -> Published:
    """Send one mail to each address of SES's mailbox simulator that the stand-in knows.

    Args:
        settings: of the local stack, as for `publish`.

    Returns:
        The notifications that must arrive: five for four mails, since a complaint follows a
        delivery.

    Raises:
        StackError: the stand-in does not take them.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return _mail(clients.ses(settings))
    except (BotoCoreError, ClientError) as error:
        raise StackError(f"The AWS stand-in takes no mail: {error} Is it up?") from None


def _mail(ses: SESClient) -> Published:
    from dpp_feedback.local.wiring import Names

    expected: list[Mailed] = []
    for recipient, kinds in _SIMULATOR.items():
        message_id = ses.send_email(
            Source=f"Local stack <hello@{Names.sender_domain}>",
            Destination={"ToAddresses": [recipient]},
            Message={
                "Subject": {"Data": "Hello from the local stack"},
                "Body": {"Text": {"Data": "What becomes of this mail?"}},
            },
        )["MessageId"]
        expected += [Mailed(message_id, kind, recipient) for kind in kinds]
    return Published(tuple(expected))


def _topics(settings: Mapping[str, str]) -> Mapping[str, _Put]:
    sns = clients.sns(settings)

    def to(arn: str) -> _Put:
        def put(batch: Mapping[int, Notification]) -> tuple[dict[int, str | None], str]:
            response = sns.publish_batch(
                TopicArn=arn,
                PublishBatchRequestEntries=[
                    {"Id": str(number), "Message": one.body} for number, one in batch.items()
                ],
            )
            taken = {int(one["Id"]): one["MessageId"] for one in response.get("Successful", [])}
            return dict(taken), _why(response.get("Failed", []))

        return put

    return {
        topic: to(settings[f"SNS_{topic.upper()}_ARN"])
        for topic in ("bounce", "complaint", "delivery")
    }


def _queue(settings: Mapping[str, str]) -> Mapping[str, _Put]:
    sqs, url = clients.sqs(settings), settings["SQS_QUEUE_URL"]

    def put(batch: Mapping[int, Notification]) -> tuple[dict[int, str | None], str]:
        response = sqs.send_message_batch(
            QueueUrl=url,
            Entries=[{"Id": str(number), "MessageBody": one.body} for number, one in batch.items()],
        )
        taken = {int(one["Id"]): None for one in response.get("Successful", [])}
        return dict(taken), _why(response.get("Failed", []))

    return dict.fromkeys(("bounce", "complaint", "delivery"), put)


def _why(failed: Iterable[BatchResultErrorEntryTypeDef | SqsErrorTypeDef]) -> str:
    return next((one.get("Message", one["Code"]) for one in failed), "")


def _batches(
    notifications: Iterable[Notification], puts: Mapping[str, _Put]
) -> Iterator[tuple[_Put, list[Notification]]]:
    """Gather what goes the same way, up to the limits of one call."""
    open_: dict[_Put, list[Notification]] = {}
    bytes_: dict[_Put, int] = {}
    for one in notifications:
        put, size = puts[one.topic], len(one.body.encode())
        full = len(open_.get(put, ())) == _BATCH or bytes_.get(put, 0) + size > _BATCH_BYTES
        if full and put in open_:
            yield put, open_.pop(put)
            bytes_[put] = 0
        open_.setdefault(put, []).append(one)
        bytes_[put] = bytes_.get(put, 0) + size
    yield from open_.items()


def _deliver(put: _Put, batch: list[Notification]) -> _Outcome:
    from botocore.exceptions import BotoCoreError, ClientError

    left = dict(enumerate(batch))
    sent: list[Sent] = []
    why = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            sleep(0.05 * 2**attempt)
        try:
            taken, why = put(left)
        except (BotoCoreError, ClientError) as error:  # botocore has tried it again already
            return sent, len(left), str(error)
        for number, message_id in taken.items():
            one = left.pop(number)
            sent.append(Sent(one.expected, one.dedupe_keys, message_id))
        if not left:
            break
    return sent, len(left), why
