"""Publishing through the real stand-in, and an account that tells when something is wrong.

A small consumer of this file's own drains the queue, so that the account is tested against known
outcomes. That the product's consumer loses nothing is tested elsewhere, with this account.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from dpp_feedback.feedback.events import FeedbackEvent, Rejected
from dpp_feedback.feedback.parser import parse
from dpp_feedback.local import clients
from dpp_feedback.local.account import Account, account
from dpp_feedback.local.ledger import Ledger, Mailed, Published, Sent
from dpp_feedback.local.simulate import PublishFailed, mail, publish
from dpp_feedback.local.stack import Stack, StackError
from dpp_feedback.local.traffic import Notification, traffic
from dpp_feedback.local.wiring import Names, wire
from dpp_feedback.migrate import migrate
from dpp_feedback.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

AT = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def wired(stack: Stack) -> Iterator[dict[str, str]]:
    """The settings of the stack, with topics and queues of this file's own."""
    settings = stack.settings()
    own = uuid4().hex[:8]
    where = settings["AWS_ENDPOINT_URL"], settings["AWS_REGION"]
    names = Names(
        bounce_topic=f"{own}-bounce",
        complaint_topic=f"{own}-complaint",
        delivery_topic=f"{own}-delivery",
        queue=f"{own}-queue",
        dead_letter_queue=f"{own}-dlq",
    )
    yield settings | wire(*where, names)
    wire(*where)  # the sending domain answers to the usual topics again


@pytest.fixture(scope="module")
def migrated_url(stack: Stack) -> Iterator[str]:
    """The URL of a migrated database of this file's own: one a test would take half the time."""
    name = f"test_{uuid4().hex}"
    with closing(psycopg.connect(stack.postgres.url("postgres"), autocommit=True)) as server:
        server.execute(f"CREATE DATABASE {name}")
        migrate(stack.postgres.url(name))
        yield stack.postgres.url(name)
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


class World:
    """A queue, a table, and what was published: everything the account looks at."""

    def __init__(
        self,
        settings: dict[str, str],
        url: str,
        connection: psycopg.Connection[Any],
        sqs: SQSClient,
        ledger: Ledger,
    ) -> None:
        self.settings = settings
        self.url = url
        self.connection = connection
        self.sqs = sqs
        self.ledger = ledger

    def publish(self, count: int, *, raw: bool = False, **mix: Any) -> Published:
        arguments: dict[str, Any] = {"seed": 1, "at": AT} | mix
        run = traffic(count, **arguments)
        published = publish(run, self.settings, raw=raw)
        self.ledger.append(published)
        return published

    def receive(self) -> list[MessageTypeDef]:
        url = self.settings["SQS_QUEUE_URL"]
        received: list[MessageTypeDef] = []
        while found := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            received += found
        return received

    def drain(self) -> None:
        """Store and acknowledge what can be; the rest goes to the dead-letter queue."""
        url = self.settings["SQS_QUEUE_URL"]
        while received := self.receive():
            events: list[FeedbackEvent] = []
            done: list[str] = []
            for message in received:
                handle = message["ReceiptHandle"]
                outcome = parse(message["Body"], AT)
                if isinstance(outcome, Rejected):  # again, until the queue gives up on it
                    self.sqs.change_message_visibility(
                        QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0
                    )
                    continue
                events += outcome if isinstance(outcome, tuple) else ()
                done.append(handle)
            with Store.connect(self.url) as store:
                assert not store.insert(events).refused
            for start in range(0, len(done), 10):
                batch = enumerate(done[start : start + 10])
                self.sqs.delete_message_batch(
                    QueueUrl=url, Entries=[{"Id": str(n), "ReceiptHandle": h} for n, h in batch]
                )

    def account(self) -> Account:
        found = account(self.url, self.settings, self.ledger)
        assert found.published + found.surplus == (
            found.stored
            + found.duplicates
            + found.ignored
            + found.in_dlq
            + found.waiting
            + found.missing
        )
        return found


@pytest.fixture
def world(wired: dict[str, str], migrated_url: str, ledger: Ledger) -> Iterator[World]:
    """Empty queues, an empty table, and nothing published."""
    sqs = clients.sqs(wired)
    for queue in ("SQS_QUEUE_URL", "SQS_DLQ_URL"):
        sqs.purge_queue(QueueUrl=wired[queue])
    with closing(psycopg.connect(migrated_url, autocommit=True)) as connection:
        connection.execute("TRUNCATE ses_feedback_events")
        yield World(wired, migrated_url, connection, sqs, ledger)


# Publishing


def test_every_notification_arrives_once_in_the_envelope_of_its_topic(world: World) -> None:
    run = list(traffic(200, seed=1, at=AT))
    published = publish(run, world.settings)
    received = [json.loads(message["Body"]) for message in world.receive()]
    expected = Counter((one.topic, one.body) for one in run)
    assert expected == Counter(
        (one["TopicArn"].rpartition("-")[2], one["Message"]) for one in received
    )
    ids = {one.sns_message_id for one in published.messages if isinstance(one, Sent)}
    assert ids == {one["MessageId"] for one in received}


def test_what_was_published_is_counted_as_it_was_planned(world: World) -> None:
    steps: list[Published] = []
    run = traffic(300, seed=1, at=AT, duplicates=0.1, poison=0.02)
    published = publish(run, world.settings, progress=steps.append)
    assert published.counts() == {"stored": 263, "duplicate": 30, "ignored": 1, "rejected": 6}
    assert len(published) == sum(map(len, steps)) == 300


def test_raw_traffic_lies_in_the_queue_without_an_envelope(world: World) -> None:
    run = list(traffic(120, seed=1, at=AT, poison=0.1))
    published = publish(run, world.settings, raw=True)
    assert Counter(one.body for one in run) == Counter(m["Body"] for m in world.receive())
    assert all(isinstance(one, Sent) and not one.sns_message_id for one in published.messages)


@pytest.mark.parametrize("raw", [False, True])
def test_large_bodies_are_split_over_more_calls(world: World, raw: bool) -> None:
    run = [Notification("bounce", f"{number}{'é' * 60_000}", "rejected") for number in range(5)]
    assert len(publish(run, world.settings, raw=raw)) == 5
    assert len(world.receive()) == 5


def test_a_body_that_is_refused_is_named_and_the_others_are_published(world: World) -> None:
    run = [Notification("bounce", text, "rejected") for text in ("one", "x" * 300_000, "two")]
    steps: list[Published] = []
    with pytest.raises(PublishFailed, match=r"^1 messages could not .*, 2 were: .* too long"):
        publish(run, world.settings, progress=steps.append)
    assert sum(map(len, steps)) == 2
    assert len(world.receive()) == 2


def test_what_was_published_before_an_interruption_is_told(world: World) -> None:
    def interrupted() -> Iterator[Notification]:
        yield from traffic(200, seed=1, at=AT)
        raise KeyboardInterrupt

    steps: list[Published] = []
    with pytest.raises(KeyboardInterrupt):
        publish(interrupted(), world.settings, progress=steps.append)
    told = {one.sns_message_id for batch in steps for one in batch.messages}  # type: ignore[union-attr]
    assert told == {json.loads(one["Body"])["MessageId"] for one in world.receive()}


def test_a_topic_that_does_not_exist_is_an_error_with_a_count(world: World) -> None:
    gone = world.settings | {"SNS_DELIVERY_ARN": world.settings["SNS_DELIVERY_ARN"] + "-gone"}
    with pytest.raises(PublishFailed, match=r"\d+ messages could not be published"):
        publish(traffic(50, seed=1, at=AT), gone)


def test_mail_to_the_simulator_leads_to_what_is_promised(world: World) -> None:
    promised = mail(world.settings)
    arrived = set()
    for message in world.receive():
        body = json.loads(json.loads(message["Body"])["Message"])
        kind = body["notificationType"]
        (recipient,) = body["mail"]["destination"]
        arrived.add(Mailed(body["mail"]["messageId"], kind, recipient))
    assert arrived == set(promised.messages)
    kinds = Counter(one.kind for one in promised.messages if isinstance(one, Mailed))
    assert kinds == {"Bounce": 2, "Complaint": 1, "Delivery": 2}


# The ledger


def test_the_ledger_returns_what_was_appended_over_several_calls(ledger: Ledger) -> None:
    assert ledger.read() == []
    sent = Sent("stored", ("0100019-a:Bounce:1", "0100019-a:Bounce:2"), "an-id")
    mailed = Mailed("a-message", "Bounce", "bounce@simulator.amazonses.com")
    ledger.append(Published((sent, Sent("rejected"))))
    ledger.append(Published((mailed,)))
    assert ledger.read() == [sent, Sent("rejected"), mailed]


def test_a_broken_ledger_says_so(ledger: Ledger) -> None:
    ledger.path.write_text('{"expected": "stor')
    with pytest.raises(StackError, match="broken"):
        ledger.read()


# The account


def test_nothing_published_is_accounted_for(world: World) -> None:
    assert world.account().accounted_for


@pytest.mark.parametrize("raw", [False, True])
def test_drained_traffic_is_accounted_for_to_the_message(world: World, raw: bool) -> None:
    world.publish(200, raw=raw, duplicates=0.1, poison=0.02)
    world.drain()
    found = world.account()
    assert found.accounted_for
    assert (found.published, found.stored, found.duplicates) == (200, 175, 20)
    assert (found.ignored, found.in_dlq, found.poison) == (1, 4, 4)
    assert (found.waiting, found.missing, found.surplus) == (0, 0, 0)
    (rows,) = world.connection.execute("SELECT count(*) FROM ses_feedback_events").fetchall()
    assert sum(found.rows_by_kind.values()) == rows[0]


def test_mail_and_several_runs_are_one_account(world: World) -> None:
    world.publish(50, seed=1)
    world.ledger.append(mail(world.settings))
    world.publish(50, seed=2, kinds=("Open", "Click", "Send"))
    world.drain()
    found = world.account()
    assert found.accounted_for
    assert found.published == 105
    assert found.rows_by_kind["Bounce"] >= 2
    assert set(found.rows_by_kind) >= {"Open", "Click", "Send"}


def test_the_same_run_published_twice_is_all_duplicates_the_second_time(world: World) -> None:
    once = world.publish(100, duplicates=0, poison=0).counts()["stored"]
    world.publish(100, duplicates=0, poison=0)
    world.drain()
    found = world.account()
    assert found.accounted_for
    assert (found.stored, found.duplicates) == (once, once)


def test_before_the_drain_everything_waits(world: World) -> None:
    world.publish(100)
    found = world.account()
    assert (found.waiting, found.stored, found.missing, found.surplus) == (100, 0, 0, 0)
    assert not found.accounted_for


def test_a_row_that_is_deleted_is_missing_and_named(world: World) -> None:
    world.publish(100, duplicates=0)
    world.drain()
    assert world.account().accounted_for
    ((key,),) = world.connection.execute(
        "DELETE FROM ses_feedback_events WHERE id IN (SELECT id FROM ses_feedback_events LIMIT 1) "
        "RETURNING dedupe_key"
    ).fetchall()
    found = world.account()
    assert not found.accounted_for
    assert (found.missing, found.missing_rows, found.missing_examples) == (1, 1, (key,))


def test_an_answer_to_mail_that_is_deleted_is_missing(world: World) -> None:
    world.ledger.append(mail(world.settings))
    world.drain()
    assert world.account().accounted_for
    world.connection.execute(
        "DELETE FROM ses_feedback_events WHERE notification_type = 'Complaint'"
    )
    found = world.account()
    assert not found.accounted_for
    assert (found.missing, found.missing_rows) == (1, 1)


@pytest.mark.parametrize(
    "changed",
    [
        "'invented', ses_message_id, sns_message_id",
        "split_part(dedupe_key, ':', 1) || ':Bounce:0000', ses_message_id, NULL",
    ],
    ids=["by its SNS message", "by the id in its key"],
)
def test_a_further_row_from_our_messages_is_unexpected(world: World, changed: str) -> None:
    world.publish(100)
    world.drain()
    insert = f"""
        INSERT INTO ses_feedback_events
          (notification_type, dedupe_key, ses_message_id, sns_message_id, type_data, event_at)
        SELECT 'Bounce', {changed}, '{{}}'::jsonb, now() FROM ses_feedback_events LIMIT 1
    """  # noqa: S608 - made of the constants above
    world.connection.execute(insert)
    found = world.account()
    assert not found.accounted_for
    assert (found.unexpected_rows, found.missing_rows) == (1, 0)


def test_rows_of_other_mail_are_no_concern_of_the_account(world: World) -> None:
    publish(traffic(50, seed=2, at=AT, poison=0), world.settings)
    world.publish(100, seed=1, poison=0)
    world.drain()
    assert world.account().accounted_for


def test_a_message_still_in_flight_is_waiting(world: World) -> None:
    world.publish(100, duplicates=0, poison=0, kinds=("Delivery",))
    url = world.settings["SQS_QUEUE_URL"]
    assert world.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)["Messages"]
    world.drain()
    found = world.account()
    assert not found.accounted_for
    assert found.waiting == 1
    assert found.missing == 0


def test_poison_that_is_not_in_the_dead_letter_queue_is_missing(world: World) -> None:
    world.publish(100, poison=0.05)
    world.drain()
    assert world.account().accounted_for
    url = world.settings["SQS_DLQ_URL"]
    poison = world.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)["Messages"][0]
    world.sqs.delete_message(QueueUrl=url, ReceiptHandle=poison["ReceiptHandle"])
    found = world.account()
    assert not found.accounted_for
    assert (found.in_dlq, found.poison, found.missing, found.missing_rows) == (4, 5, 1, 0)


def test_a_good_message_in_the_dead_letter_queue_is_not_accounted_for(world: World) -> None:
    world.publish(100, duplicates=0, poison=0)
    url = world.settings["SQS_QUEUE_URL"]
    taken = world.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)["Messages"][0]
    world.sqs.send_message(QueueUrl=world.settings["SQS_DLQ_URL"], MessageBody=taken["Body"])
    world.sqs.delete_message(QueueUrl=url, ReceiptHandle=taken["ReceiptHandle"])
    world.drain()
    found = world.account()
    assert not found.accounted_for
    assert (found.in_dlq, found.missing, found.poison) == (1, 0, 0)


def test_a_message_that_nobody_published_here_is_surplus(world: World) -> None:
    world.publish(50, duplicates=0, poison=0)
    world.drain()
    assert world.account().accounted_for
    world.sqs.send_message(QueueUrl=world.settings["SQS_DLQ_URL"], MessageBody="from elsewhere")
    found = world.account()
    assert not found.accounted_for
    assert (found.surplus, found.missing) == (1, 0)


def test_a_database_without_the_table_is_a_clear_error(
    stack: Stack, wired: dict[str, str], ledger: Ledger
) -> None:
    with pytest.raises(StackError, match="ses_feedback_events"):
        account(stack.postgres.url("postgres"), wired, ledger)
