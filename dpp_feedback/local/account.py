"""The honest sum: is every message that was published stored, dropped, ignored or set aside?

Looks from the outside only, at the event table and at the queues' depths; it asks no part of the
product what it believes to have done. What was published comes from ledger.py.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from dpp_feedback.local import clients
from dpp_feedback.local.errors import StackError
from dpp_feedback.local.ledger import Mailed, Sent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mypy_boto3_sqs import SQSClient

    from dpp_feedback.local.ledger import Entry, Ledger

_EXAMPLES = 5

# Every row that could come from our messages: by what SES's ids in its key say, by the SNS message
# it came in, or by the mail it is about. Kept in one statement, so that it is of one moment.
_ROWS = """
SELECT dedupe_key, notification_type, ses_message_id, primary_recipient
FROM public.ses_feedback_events
WHERE split_part(dedupe_key, ':', 1) = ANY (%(anchors)s)
   OR sns_message_id = ANY (%(sns_message_ids)s)
   OR ses_message_id = ANY (%(mailed)s)
"""

_Row: TypeAlias = tuple[str, str, str, str | None]


@dataclass(frozen=True, slots=True)
class Account:
    """Where the published messages are.

    It always holds that published + surplus = stored + duplicates + ignored + in_dlq + waiting +
    missing. While messages still move, the numbers are of slightly different moments.

    Attributes:
        published: messages, of every sort.
        stored: messages that came first and whose rows are all there, each exactly once.
        duplicates: messages that repeated an earlier one and left no further row.
        ignored: control messages that left no row.
        in_dlq: messages in the dead-letter queue.
        waiting: messages in the queue: waiting, in flight or delayed.
        missing: messages that are nowhere.
        surplus: messages in the queues, or rows' worth, that nobody published here.
        poison: messages that must end in the dead-letter queue.
        rows_by_kind: rows that were expected and are there, by SES's kind.
        missing_rows: expected rows that are not there.
        missing_examples: dedupe keys of a few of them.
        unexpected_rows: rows that came from our messages and should not be there.
        unexpected_examples: dedupe keys of a few of them.
    """

    published: int
    stored: int
    duplicates: int
    ignored: int
    in_dlq: int
    waiting: int
    missing: int
    surplus: int
    poison: int
    rows_by_kind: Mapping[str, int]
    missing_rows: int
    missing_examples: tuple[str, ...]
    unexpected_rows: int
    unexpected_examples: tuple[str, ...]

    @property
    def accounted_for(self) -> bool:
        """Whether every message has arrived where it belongs, and nothing else has."""
        return (
            self.in_dlq == self.poison
            and not self.waiting
            and not self.missing
            and not self.surplus
            and not self.missing_rows
            and not self.unexpected_rows
        )


def account(database_url: str, settings: Mapping[str, str], ledger: Ledger) -> Account:
    """Compare what was published with what is there now.

    Messages that a queue held before, or that others put there, count as surplus.

    Args:
        database_url: the database that the product writes to.
        settings: of the local stack: SQS_QUEUE_URL, SQS_DLQ_URL, AWS_REGION, AWS_ENDPOINT_URL,
            AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
        ledger: everything that was published.

    Raises:
        StackError: the database or a queue cannot be read.
    """
    plan = _Plan.of(ledger.read())
    # The queues first: what moves meanwhile is then seen twice, and not reported as lost.
    sqs = clients.sqs(settings)
    waiting = _depth(sqs, settings["SQS_QUEUE_URL"])
    in_dlq = _depth(sqs, settings["SQS_DLQ_URL"])
    rows = _rows(database_url, plan)

    by_key = Counter(row[0] for row in rows)
    by_mail = Counter(Mailed(row[2], row[1], row[3] or "") for row in rows)
    stored = sum(all(by_key[key] == 1 for key in keys) for keys in plan.first)
    stored += sum(by_mail[mailed] == 1 for mailed in plan.mailed)
    repeats = sum(all(by_key[key] == 1 for key in keys) for keys in plan.repeats)

    # A duplicate and a control message leave nothing behind. So what is neither stored nor in a
    # queue is theirs, up to the number that was published; whatever goes beyond that is lost.
    gone = plan.published - stored - waiting - in_dlq
    duplicates = max(0, min(repeats, gone))
    ignored = max(0, min(plan.controls, gone - duplicates))
    balance = gone - duplicates - ignored

    absent = [key for key in plan.keys if not by_key[key]]
    absent += [f"{one.ses_message_id}:{one.kind}" for one in plan.mailed if not by_mail[one]]
    expected, unexpected = _sorted_out(rows, plan)
    return Account(
        published=plan.published,
        stored=stored,
        duplicates=duplicates,
        ignored=ignored,
        in_dlq=in_dlq,
        waiting=waiting,
        missing=max(0, balance),
        surplus=max(0, -balance),
        poison=plan.poison,
        rows_by_kind=dict(Counter(row[1] for row in expected)),
        missing_rows=len(absent),
        missing_examples=tuple(absent[:_EXAMPLES]),
        unexpected_rows=len(unexpected),
        unexpected_examples=tuple(row[0] for row in unexpected[:_EXAMPLES]),
    )


@dataclass(slots=True)
class _Plan:
    """What must be there when everything has arrived."""

    published: int = 0
    poison: int = 0
    controls: int = 0
    first: list[tuple[str, ...]] = field(default_factory=list)
    repeats: list[tuple[str, ...]] = field(default_factory=list)
    mailed: set[Mailed] = field(default_factory=set)
    keys: dict[str, None] = field(default_factory=dict)  # a set that keeps the order
    sns_message_ids: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> _Plan:
        plan = cls()
        for entry in entries:
            plan.published += 1
            match entry:
                case Mailed():
                    plan.mailed.add(entry)
                case Sent():
                    plan.add(entry)
        return plan

    def add(self, sent: Sent) -> None:
        if sent.sns_message_id:
            self.sns_message_ids.append(sent.sns_message_id)
        if sent.expected == "rejected":
            self.poison += 1
        elif sent.expected == "ignored":
            self.controls += 1
        # Not by what traffic called it: the same traffic published twice is all repeats.
        elif all(key in self.keys for key in sent.dedupe_keys):
            self.repeats.append(sent.dedupe_keys)
        else:
            self.first.append(sent.dedupe_keys)
            self.keys |= dict.fromkeys(sent.dedupe_keys)


def _sorted_out(rows: list[_Row], plan: _Plan) -> tuple[list[_Row], list[_Row]]:
    """Part the rows into those that must be there and those that must not."""
    expected: list[_Row] = []
    unexpected: list[_Row] = []
    seen: set[str | Mailed] = set()
    for row in rows:
        mailed = Mailed(row[2], row[1], row[3] or "")
        name = mailed if mailed in plan.mailed else row[0]
        wanted = (name in plan.mailed or name in plan.keys) and name not in seen
        (expected if wanted else unexpected).append(row)
        seen.add(name)
    return expected, unexpected


def _rows(database_url: str, plan: _Plan) -> list[_Row]:
    import psycopg

    wanted = {
        "anchors": list({key.partition(":")[0] for key in plan.keys}),
        "sns_message_ids": plan.sns_message_ids,
        "mailed": list({mailed.ses_message_id for mailed in plan.mailed}),
    }
    try:
        with psycopg.connect(database_url, connect_timeout=10) as connection:
            return connection.execute(_ROWS, wanted).fetchall()
    except psycopg.Error as error:
        raise StackError(f"The event table cannot be read: {error}".strip()) from error


def _depth(sqs: SQSClient, url: str) -> int:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        said = sqs.get_queue_attributes(
            QueueUrl=url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
                "ApproximateNumberOfMessagesDelayed",
            ],
        )
    except (BotoCoreError, ClientError) as error:
        raise StackError(f"The queue {url} cannot be read: {error}") from error
    return sum(int(number) for number in said["Attributes"].values())
