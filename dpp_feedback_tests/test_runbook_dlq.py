"""docs/runbook.md, section "Dead-letter queue": each of its blocks is pasted and looked at."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import psycopg
import pytest

from dpp_feedback.definitions import defs
from dpp_feedback.dlq.reasons import IGNORED, READABLE, REASONS, reason_now
from dpp_feedback.feedback import parser
from dpp_feedback.feedback.envelope import MAX_BODY
from dpp_feedback.feedback.glance import glance
from dpp_feedback.feedback.parser import anything
from dpp_feedback.ingest import process_feedback
from dpp_feedback.resources import FeedbackQueue
from dpp_feedback.sns.certificates import Certificates
from dpp_feedback.sns.check import SnsCheck
from dpp_feedback_tests.dlq.dead_letters import DeadLetters, delivery
from dpp_feedback_tests.runbook import ROOT, Terminal, blocks, like, printed, reasons, section

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mypy_boto3_sqs import SQSClient

    from dpp_feedback.local.stack import Stack

    Database = psycopg.Connection[tuple[Any, ...]]

SECTION = section()
BLOCKS = {block.name: block for block in blocks(SECTION)}
NOW = datetime.now(UTC)
REFUSED = "refused_by_database"
SHOP = '{"orderId": 4711, "status": "shipped"}'
MAKE_VIEWS = [
    ROOT / "migrations" / "20261126_create_ses_suppressed_recipients.sql",
    ROOT / "migrations" / "20261129_create_ses_feedback_roles.sql",
    ROOT / "migrations" / "20261130_create_ses_feedback_removals.sql",
]


def bounce(number: int = 1, **mail: Any) -> str:
    return json.dumps(
        {
            "notificationType": "Bounce",
            "bounce": {
                "bounceType": "Permanent",
                "bounceSubType": "OnAccountSuppressionList",
                "bouncedRecipients": [{"emailAddress": "jane@example.org"}],
                "timestamp": "2026-02-17T08:30:00.000Z",
                "feedbackId": f"0100019c{number:08x}-feedback",
            },
            "mail": {"messageId": f"0100019c{number:08x}-mail", "source": "a@example.com"} | mail,
        }
    )


TOPIC = "arn:aws:sns:eu-west-1:111122223333:bounces"
VERIFYING = SnsCheck(frozenset({TOPIC}), Certificates("eu-west-1"))
VERIFIED = {"unsigned", "bad_signature", "bad_certificate", "topic_not_allowed"}
IN_SNS = {
    "Type": "Notification",
    "MessageId": "id",
    "TopicArn": TOPIC,
    "Message": bounce(),
    "Timestamp": "2026-02-17T12:00:00.250Z",
    "SignatureVersion": "2",
    "Signature": "QUJD",
}
BODIES = {
    READABLE: delivery(1),
    IGNORED: "Successfully validated SNS topic for Amazon SES event publishing.",
    REFUSED: bounce(),
    "empty": " ",
    "not_text": "\ud800",
    "not_json": bounce()[:-60],
    "too_large": " " * MAX_BODY + "1",
    "not_ses": SHOP,
    "missing_message_id": bounce(messageId=None),
    "missing_details": '{"notificationType": "Bounce", "mail": {"messageId": "0100-mail"}}',
    "wrong_type": bounce(tags="none"),
    "bad_text": bounce(messageId="0100\u0000-mail"),
    "unsigned": bounce(),
    "bad_signature": json.dumps(IN_SNS | {"SignatureVersion": "3"}),
    "bad_certificate": json.dumps(IN_SNS | {"SigningCertURL": "https://example.com/x.pem"}),
    "topic_not_allowed": json.dumps(IN_SNS | {"TopicArn": "arn:aws:sns:eu-west-1:1:other"}),
}
"""One body for each reason. None is known for parser_error: the parser fails at nothing we know."""


class Night:
    """The terminal of an operator, the queues and the tables behind it, and what was pasted."""

    def __init__(self, terminal: Terminal, letters: DeadLetters) -> None:
        self.terminal = terminal
        self.letters = letters
        self.database = letters.database
        self.pasted: list[str] = []

    def paste(self, name: str, **values: str) -> str:
        self.pasted.append(name)
        return self.terminal.paste(BLOCKS[name], **values)

    def narrow(self) -> None:
        """What somebody did to the database the day before."""
        self.database.execute("DROP VIEW public.ses_suppressed_recipients")
        self.database.execute("DROP VIEW dpp_feedback.ses_feedback_events_masked")
        self.database.execute(
            "ALTER TABLE public.ses_feedback_events ALTER bounce_sub_type TYPE varchar(20)"
        )
        for file in MAKE_VIEWS:
            self.database.execute(file.read_bytes())

    def rejected(self, *bodies: str) -> list[str]:
        """Put messages into the dead-letter queue, and let a run reject and record them."""
        ids = self.letters.send(bodies)
        with dg.DagsterInstance.ephemeral() as instance:
            run = defs.resolve_job_def("reprocess_dlq").execute_in_process(
                run_config={"dry_run": False}, instance=instance
            )
        assert run.success
        self.letters.until(len(ids))
        return ids

    def dead(self, bodies: list[str]) -> None:
        """Let SQS itself make dead letters, since it redrives no others: five receives each."""
        letters = self.letters
        for body in bodies:
            letters.sqs.send_message(QueueUrl=letters.main_url, MessageBody=body)
        queue = FeedbackQueue().connect()
        for _ in range(6):
            queue.release(queue.receive(len(bodies), 5).messages)
        letters.until(len(bodies))

    def one(self, query: str) -> Any:
        row = self.database.execute(query.encode()).fetchone()
        assert row
        return row[0]


@pytest.fixture
def night(
    stack: Stack,
    sqs: SQSClient,
    environment: dict[str, str],
    database: Database,
    tmp_path: Path,
) -> Night:
    return Night(Terminal(tmp_path, stack), DeadLetters(sqs, environment, database))


CASES: dict[str, Callable[[Night, str], None]] = {}
"""What is to be so before a block is pasted, and after, by the block's name."""

LIST = "dpp-feedback dlq list"
SHOW = "dpp-feedback dlq show <message id>"
REPROCESS = f"dpp-feedback dlq reprocess --reason {REFUSED}"
WAITING = "select reason, count(*), min(sent_at) as oldest"
HEALTH = "dagster asset materialize -m dpp_feedback.definitions --select dlq_health"
REDRIVE = "dpp-feedback dlq redrive --max-per-second 50"
DISCARD = (
    "dpp-feedback dlq discard --id <message id>,<message id> "
    '--why "orders of the shop, wrong topic"'
)
ACTS = (
    "select started_at, finished_at, action, dry_run, actor, selection, moved, counts, why, error"
)
NARROW = (
    'select attrelid::regclass as "table", attname as "column", '
    "format_type(atttypid, atttypmod) as type,"
)
KEPT = (
    "dpp-feedback dlq show --reveal <message id>",
    "psql \"$DATABASE_URL\" -v ON_ERROR_STOP=1 -qAt <<'SQL'",
)
MEND = 'psql "$DATABASE_URL" -v ON_ERROR_STOP=1 --single-transaction \\'


def case(*names: str) -> Callable[[Callable[[Night, str], None]], Callable[[Night, str], None]]:
    def add(function: Callable[[Night, str], None]) -> Callable[[Night, str], None]:
        CASES.update(dict.fromkeys(names, function))
        return function

    return add


@case(LIST, f"{LIST} --reason {REFUSED}")
def _list(night: Night, name: str) -> None:
    night.narrow()
    (first, second, *_) = night.rejected(bounce(1), bounce(2), "text", "text", "text")
    said = night.paste(name)
    assert first in said
    assert second in said
    shown = printed(SECTION, "messages seen")[-2:]
    assert all(line in like(said) for line in shown) == (name == LIST)
    night.letters.until(5)


@case(SHOW)
def _show(night: Night, name: str) -> None:
    (shop, _) = night.letters.send([SHOP, BODIES["empty"]])
    said = night.paste(name, **{"message id": shop})
    assert "neither notificationType nor eventType" in said


@case(f"{SHOW} --body body.txt")
def _body(night: Night, name: str) -> None:
    (ours, _) = night.letters.send([BODIES["wrong_type"], SHOP])
    night.paste(name, **{"message id": ours})
    assert (night.terminal.folder / "body.txt").read_text() == BODIES["wrong_type"]


@case(f"{LIST} --reason not_json --kind Bounce --since 3d --limit 20")
def _filter(night: Night, name: str) -> None:
    (cut, text, _) = night.letters.send([BODIES["not_json"], "text", SHOP])
    said = night.paste(name)
    assert cut in said
    assert text not in said


@case(
    REPROCESS,
    f"{REPROCESS} --no-dry-run",
    f"dry_run: true | reasons: [{REFUSED}]",
    f"dry_run: false | reasons: [{REFUSED}]",
)
def _reprocess(night: Night, name: str) -> None:
    night.narrow()
    night.rejected(bounce(1), bounce(2), SHOP, SHOP)
    mend(night)
    said = night.paste(name)
    if name == REPROCESS:
        assert " ".join(printed(SECTION, "Dry run over")) in like(said)
    real = "--no-dry-run" in name or "false" in name
    night.letters.until(2 if real else 4)
    assert night.letters.events() == (2 if real else 0)
    assert night.letters.acts()[-1]["selection"] == {"reasons": [REFUSED]}
    assert night.letters.acts()[-1]["counts"]["stored"] == 2


@case(
    "dry_run: true | reasons: [readable, ignored]",
    "dpp-feedback dlq reprocess --reason readable --reason ignored --no-dry-run",
    "dpp-feedback dlq reprocess --no-dry-run",
)
def _what_can_be_read(night: Night, name: str) -> None:
    night.letters.send([BODIES[READABLE], BODIES[IGNORED], SHOP])
    night.paste(name)
    real = "--no-dry-run" in name
    night.letters.until(1 if real else 3)
    assert night.letters.events() == real
    counts = night.letters.acts()[-1]["counts"]
    assert (counts["stored"], counts["ignored"]) == (1, 1)


@case(WAITING)
def _waiting(night: Night, name: str) -> None:
    night.rejected(SHOP, SHOP, BODIES["empty"])
    said = [line.split("|")[:2] for line in night.paste(name).splitlines() if "|" in line]
    assert [[cell.strip() for cell in line] for line in said[1:]] == [
        ["not_ses", "2"],
        ["empty", "1"],
    ]


@case(HEALTH)
def _health(night: Night, name: str) -> None:
    night.letters.send([SHOP])
    said = night.paste(name)
    assert "1 message lies in the dead-letter queue, not stored: 1 not_ses." in said
    night.letters.until(1)


@case("dpp-feedback dlq export dead-letters.jsonl --reason wrong_type --limit 20")
def _export(night: Night, name: str) -> None:
    (ours, _) = night.letters.send([BODIES["wrong_type"], SHOP])
    night.paste(name)
    (line,) = (night.terminal.folder / "dead-letters.jsonl").read_text().splitlines()
    assert json.loads(line)["message_id"] == ours
    assert "jane@" not in line


@case(REDRIVE)
def _redrive(night: Night, name: str) -> None:
    night.dead([delivery(number) for number in range(3)])
    assert "3 messages moved." in night.paste(name)
    night.letters.until(0)
    night.letters.until(3, url=night.letters.main_url)


@case("dpp-feedback dlq redrive --force --yes")
def _forced(night: Night, name: str) -> None:
    night.dead([SHOP])
    night.paste(name)
    night.letters.until(0)
    assert "forced" in night.letters.acts()[-1]["why"]


@case("dpp-feedback dlq redrive --cancel")
def _cancel(night: Night, name: str) -> None:
    night.dead([delivery(number) for number in range(20)])
    FeedbackQueue(setting="SQS_DLQ_URL").connect().move_tasks.start(1)
    assert "Cancelled." in night.paste(name)
    assert night.letters.acts()[-1]["action"] == "cancel_redrive"


@case(DISCARD)
def _discard(night: Night, name: str) -> None:
    (shop, empty) = night.rejected(SHOP, BODIES["empty"])
    night.paste(name, **{"message id": shop})
    night.letters.until(1)
    rows = night.letters.rejects()
    assert (rows[shop]["resolution"], rows[empty]["resolution"]) == ("discarded", "waiting")


@case(f"{LIST} --reason not_ses --limit 1000 --json | cut -d '\"' -f 4 > ids.txt")
def _discard_many(night: Night, name: str) -> None:
    night.letters.send([SHOP, SHOP, BODIES["empty"]])
    assert "2 messages discarded." in night.paste(name)
    night.letters.until(1)


@case(ACTS)
def _acts(night: Night, name: str) -> None:
    night.rejected(SHOP)
    said = night.paste(name)
    assert "reprocess" in said
    assert '"rejected": 1' in said


@case(
    "select act.started_at, act.actor, act.why, message.reason, message.message_id, "
    "message.body_sha256"
)
def _who_discarded(night: Night, name: str) -> None:
    (shop,) = night.letters.send([SHOP])
    night.paste(DISCARD, **{"message id": shop})
    said = night.paste(name)
    assert shop in said
    assert "orders of the shop" in said


@case('aws sqs set-queue-attributes --region "$AWS_REGION" --queue-url "$SQS_DLQ_URL" \\')
def _retention(night: Night, name: str) -> None:
    letters = night.letters
    letters.sqs.set_queue_attributes(
        QueueUrl=letters.url, Attributes={"MessageRetentionPeriod": "345600"}
    )
    night.paste(name)
    said = letters.sqs.get_queue_attributes(
        QueueUrl=letters.url, AttributeNames=["MessageRetentionPeriod"]
    )
    assert said["Attributes"]["MessageRetentionPeriod"] == "1209600"


@case('aws sqs get-queue-attributes --region "$AWS_REGION" --queue-url "$SQS_QUEUE_URL" \\')
def _policy(night: Night, name: str) -> None:
    assert night.letters.url.rpartition("/")[2] in night.paste(name)


@case(NARROW, MEND)
def _narrow(night: Night, _: str) -> None:
    night.narrow()
    columns = "SELECT count(*) FROM pg_catalog.pg_attribute WHERE attname = 'bounce_sub_type' "
    columns += "AND atttypid = 'varchar'::regtype"
    assert night.one(columns) > 0
    mend(night)
    assert night.one(columns) == 0
    assert night.one("SELECT count(*) FROM public.ses_suppressed_recipients") == 0
    assert night.one("SELECT count(*) FROM dpp_feedback.ses_feedback_events_masked") == 0
    assert "(0 rows)" in night.paste(NARROW)


@case("openssl rand -base64 33")
def _key(night: Night, name: str) -> None:
    assert len(night.paste(name).strip()) == 44


@pytest.mark.parametrize("name", CASES)
def test_every_block_does_what_the_page_says(name: str, night: Night) -> None:
    CASES[name](night, name)
    assert name in night.pasted


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_body_comes_back_after_sqs_has_deleted_it(
    name: str, night: Night, crypto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", crypto_url)
    monkeypatch.setenv("SES_FEEDBACK_REJECT_KEY", "a passphrase for bodies")
    with closing(psycopg.connect(crypto_url, autocommit=True)) as database:
        database.execute("CREATE EXTENSION pgcrypto")
    (ours,) = night.rejected(BODIES["wrong_type"])
    night.letters.sqs.purge_queue(QueueUrl=night.letters.url)
    night.letters.until(0)
    said = night.paste(name, **{"message id": ours})
    assert "jane@example.org" in said
    assert (BODIES["wrong_type"] in said) == name.startswith("psql")


def test_every_block_is_pasted_by_a_test() -> None:
    assert CASES.keys() | set(KEPT) == BLOCKS.keys()


def test_the_table_of_reasons_has_each_reason_once() -> None:
    assert sorted(reasons(SECTION)) == sorted(REASONS)


@pytest.mark.parametrize("reason", reasons(SECTION))
def test_every_reason_of_the_table_comes_from_a_body(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = BODIES.get(reason, BODIES[READABLE])
    if reason == "parser_error":  # a fault that is planted, for want of one that is known
        monkeypatch.setattr(parser, "open_body", None)
    refused = {"this"} if reason == REFUSED else set()  # by Postgres itself: the incident below
    admit = VERIFYING if reason in VERIFIED else anything
    assert reason_now(glance(body, NOW, admit), "this", refused) == reason


def test_every_link_within_the_page_leads_somewhere() -> None:
    page = (ROOT / "docs" / "runbook.md").read_text()
    anchors = {_anchor(line) for line in page.splitlines() if line.startswith("#")}
    for link in page.split("](#")[1:]:
        assert link.partition(")")[0] in anchors


def test_a_narrow_column_is_mended_by_the_blocks_of_the_page_alone(night: Night) -> None:
    """The incident: good bounces become dead letters, and come back, each once."""
    night.narrow()
    letters, number = night.letters, 12
    for copy in range(number):
        letters.sqs.send_message(QueueUrl=letters.main_url, MessageBody=bounce(copy))
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(6):  # five receives; the sixth finds that SQS has moved them
            assert process_feedback_run(instance).success
    letters.until(0, url=letters.main_url)
    letters.until(number)

    said = night.paste(LIST)
    assert f"{number} messages seen, {number} shown: {number} {REFUSED}." in said
    message_id = next(line.split()[0] for line in said.splitlines() if REFUSED in line)
    said = night.paste(SHOW, **{"message id": message_id})
    assert all(line in like(said) for line in printed(SECTION, "last reason"))
    assert "jane@" not in said

    assert f"{number} would still be rejected" in _in_a_line(night.paste(REPROCESS))
    mend(night)
    assert f"{number} would be stored" in _in_a_line(night.paste(REPROCESS))
    assert letters.events() == 0
    letters.until(number)
    assert f"{number} stored" in _in_a_line(night.paste(f"{REPROCESS} --no-dry-run"))

    letters.until(0)
    assert letters.events() == number
    again = night.paste(f"{LIST} --reason {REFUSED}")
    assert "is empty" in again
    assert "(0 rows)" in night.paste(WAITING)
    assert {row["resolution"] for row in letters.rejects().values()} == {"reprocessed"}
    assert [(act["action"], act["dry_run"], act["moved"]) for act in letters.acts()] == [
        ("reprocess", True, 0),
        ("reprocess", True, 0),
        ("reprocess", False, number),
    ]
    assert str(number) in night.paste(ACTS)


def process_feedback_run(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = defs.resolve_job_def(process_feedback.name)
    return job.execute_in_process(instance=instance, raise_on_error=False)


def mend(night: Night) -> None:
    """Find the column by the page's query, and mend it by its command."""
    (found,) = [line for line in night.paste(NARROW).splitlines() if "character varying" in line]
    table, column, _, how = (cell.strip() for cell in found.split("|"))
    night.paste(MEND, table=table, column=column, mend=how)


def _in_a_line(said: str) -> str:
    return " ".join(said.split())


def _anchor(heading: str) -> str:
    kept = "".join(c for c in heading.lstrip("# ").lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")
