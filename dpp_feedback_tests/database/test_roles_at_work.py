"""What the product does, each part with a login that holds only the roles it needs."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import make_conninfo

from dpp_feedback.assets.dlq import dlq_health
from dpp_feedback.cli import main
from dpp_feedback.definitions import build_definitions
from dpp_feedback.doctor import database as doctor
from dpp_feedback.feedback.events import FeedbackEvent
from dpp_feedback.migrate import migrate
from dpp_feedback.resources import FeedbackQueue, FeedbackStore
from dpp_feedback.store import Store
from dpp_feedback_tests.bounces import bounce
from dpp_feedback_tests.database.logins import MAINTAINER, READER, WRITER, login
from dpp_feedback_tests.dlq.dead_letters import DeadLetters, delivery
from dpp_feedback_tests.doctor.looking import found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import psycopg
    from mypy_boto3_sqs import SQSClient

    from dpp_feedback.feedback.reconciliation import SentDay

    Database = psycopg.Connection[tuple[Any, ...]]

YESTERDAY = datetime.now(UTC) - timedelta(days=1)


class Ses:
    """Stands in for SES's own bookkeeping, which the AWS stand-in does not keep."""

    def connect(self) -> Ses:
        return self

    def send_statistics(self) -> dict[date, SentDay]:
        return {}

    def metrics(self, first: date, last: date) -> dict[date, SentDay]:  # noqa: ARG002
        return {}

    def attempts(self, since: datetime, until: datetime) -> int:  # noqa: ARG002
        return 0

    def suppressed(self) -> dict[str, str]:
        return {}


@pytest.fixture
def letters(sqs: SQSClient, environment: dict[str, str], database: Database) -> DeadLetters:
    return DeadLetters(sqs, environment, database)


@pytest.fixture
def log_in(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., None]]:
    """Make the product use a login of these roles from now on."""
    migrate(environment["DATABASE_URL"])
    monkeypatch.setenv("SES_FEEDBACK_REPORTS", str(tmp_path))

    with ExitStack() as logins:

        def use(*roles: str) -> None:
            url = logins.enter_context(login(environment["DATABASE_URL"], *roles))
            # With an empty search_path, as the runbook sets it for the pods.
            monkeypatch.setenv("DATABASE_URL", make_conninfo(url, options="-csearch_path="))

        yield use


def run(job: str, config: dict[str, Any] | None = None, day: str | None = None) -> None:
    """Run a job as Dagster does, with a day for that; no check may have lacked a right."""
    jobs = build_definitions({"ses": Ses()})
    tags = {f"dagster/asset_partition_range_{end}": day for end in ("start", "end") if day}
    with dg.instance_for_test() as instance:
        ended = jobs.resolve_job_def(job).execute_in_process(
            run_config=config or {}, instance=instance, tags=tags
        )
    assert ended.success
    for each in ended.get_asset_check_evaluations():
        assert "may not" not in (each.description or "")


def event(number: int, kind: str = "Delivery") -> FeedbackEvent:
    bounced = kind == "Bounce"
    return FeedbackEvent(
        notification_type=kind,
        ses_message_id=f"mail-{number}",
        feedback_id=None,
        source="news@example.com",
        primary_recipient=f"person{number}@example.org",
        bounce_type="Permanent" if bounced else None,
        bounce_sub_type="NoEmail" if bounced else None,
        type_data={},
        configuration_set=None,
        event_at=YESTERDAY,
        sns_message_id=None,
        dedupe_key=f"mail-{number}:{kind}",
    )


def test_a_writer_alone_drains_the_queue_and_the_dead_letters(
    letters: DeadLetters, log_in: Callable[..., None]
) -> None:
    log_in(WRITER)
    for body in (bounce(1), bounce(1), bounce(2, "a@example.org", "b@example.org"), "{}"):
        letters.sqs.send_message(QueueUrl=letters.main_url, MessageBody=body)
    run("process_feedback")
    assert letters.events() == 3
    totals = letters.database.execute("SELECT sum(count) FROM public.ses_feedback_daily_totals")
    assert totals.fetchone() == (3,)
    (reject,) = letters.rejects().values()
    assert reject["resolution"] == "waiting"

    letters.send([delivery(1), delivery(2), "{}"])
    run("reprocess_dlq")  # dry
    assert letters.events() == 3
    run("reprocess_dlq", {"dry_run": False})
    assert letters.events() == 5
    assert [act["counts"]["stored"] for act in letters.acts()] == [2, 2]


def test_a_writer_alone_lists_and_discards_dead_letters_and_looks_after_their_health(
    letters: DeadLetters, log_in: Callable[..., None]
) -> None:
    log_in(WRITER)
    (name,) = letters.send(["{}"])
    for command in (
        ["dlq", "list"],
        ["dlq", "show", name],
        ["dlq", "discard", "--id", name, "--why", "a test", "--yes"],
    ):
        outcome = CliRunner().invoke(main, command)
        assert outcome.exit_code == 0, outcome.output
    assert letters.rejects()[name]["resolution"] == "discarded"
    letters.send(["{}"])
    with dg.instance_for_test() as instance:
        made = dg.materialize(
            [dlq_health],
            resources={
                "store": FeedbackStore(),
                "queue": FeedbackQueue(),
                "dead_letter_queue": FeedbackQueue(setting="SQS_DLQ_URL"),
            },
            instance=instance,
        )
    assert made.success


def test_a_reader_alone_makes_the_report_and_the_hourly_checks(
    database: Database, database_url: str, log_in: Callable[..., None], tmp_path: Path
) -> None:
    with Store.connect(database_url) as store:
        store.insert([*map(event, range(40)), event(41, "Bounce")])
    log_in(READER)
    run("bounce_rate_report")
    assert list(tmp_path.rglob("*.html"))
    run("feedback_checks")
    assert database.execute("SELECT count(*) FROM public.ses_feedback_events").fetchone() == (41,)


def test_a_maintainer_who_also_reads_recounts_and_makes_the_list(
    database: Database, database_url: str, log_in: Callable[..., None], tmp_path: Path
) -> None:
    with Store.connect(database_url) as store:
        store.insert([*map(event, range(40)), event(41, "Bounce")])
    database.execute("UPDATE public.ses_feedback_daily_counts SET count = count + 1")
    database.execute("UPDATE public.ses_feedback_daily_totals SET count = count + 1")
    log_in(MAINTAINER, READER)
    run("daily_rollup", day=str(YESTERDAY.date()))
    totals = database.execute("SELECT sum(count) FROM public.ses_feedback_daily_totals")
    assert totals.fetchone() == (41,)
    run("suppression_list")
    (listed,) = tmp_path.rglob("suppressed-recipients.csv")
    assert "person41@example.org" in listed.read_text()


def test_a_maintainer_alone_removes_what_is_old_and_a_person_who_asks(
    database: Database, database_url: str, log_in: Callable[..., None]
) -> None:
    with Store.connect(database_url) as store:
        old = replace(event(0), event_at=YESTERDAY - timedelta(days=60))
        store.insert([old, event(1), event(2, "Bounce")])
    log_in(MAINTAINER)
    for command in (["retention", "--days", "30"], ["erase", "person2@example.org"]):
        outcome = CliRunner().invoke(main, command)
        assert outcome.exit_code == 0, outcome.output
    left = database.execute("SELECT primary_recipient FROM public.ses_feedback_events ORDER BY 1")
    assert left.fetchall() == [("@example.org",), ("person1@example.org",)]
    assert database.execute(
        "SELECT sum(count) FROM public.ses_feedback_daily_totals"
    ).fetchone() == (3,)


@pytest.mark.parametrize(
    ("roles", "unlike_pass"),
    [
        ((WRITER, READER, MAINTAINER), {}),
        ((WRITER,), {"migrations": "warn"}),
        ((READER,), {"takes an event": "warn"}),
        ((MAINTAINER, READER), {"takes an event": "warn"}),
    ],
)
def test_the_doctor_finds_no_fault_with_a_login_for_less(
    log_in: Callable[..., None], roles: tuple[str, ...], unlike_pass: dict[str, str]
) -> None:
    log_in(*roles)
    findings = [each for checks in found(doctor.examinations()).values() for each in checks]
    assert {each.check: each.verdict for each in findings if each.verdict != "pass"} == unlike_pass


def test_the_doctor_fails_with_a_login_that_holds_no_role(log_in: Callable[..., None]) -> None:
    log_in()
    (finding,) = found(doctor.examinations())["takes an event"]
    assert finding.verdict == "fail"
    assert "may not" in finding.found
    assert json.dumps(finding.found).count("@") == 0
