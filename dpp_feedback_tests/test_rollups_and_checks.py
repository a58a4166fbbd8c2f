"""Rollups and checks as Dagster runs them, on a real instance and a real Postgres."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from dpp_feedback.checks.looking_back import closed_day
from dpp_feedback.definitions import build_definitions
from dpp_feedback.feedback.events import FeedbackEvent
from dpp_feedback.feedback.reconciliation import SentDay
from dpp_feedback.store import Store

if TYPE_CHECKING:
    import psycopg

    Database = psycopg.Connection[tuple[Any, ...]]

LAST = date(2026, 2, 28)


@dataclass
class SesOfTheTest:
    """Stands in for SES's own bookkeeping, which the AWS stand-in does not let anybody fill."""

    days: dict[date, SentDay] = field(default_factory=dict)
    recent: int = 0

    def connect(self) -> SesOfTheTest:
        return self

    def send_statistics(self) -> dict[date, SentDay]:
        return self.days

    def metrics(self, first: date, last: date) -> dict[date, SentDay]:  # noqa: ARG002
        return {}

    def attempts(self, since: datetime, until: datetime) -> int:  # noqa: ARG002
        return self.recent


@dataclass
class Bench:
    """An account whose events the test makes up."""

    database: Database
    database_url: str
    ses: SesOfTheTest = field(default_factory=SesOfTheTest)
    made: int = 0

    def day(self, day: date, *, source: str = "news@example.com", **kinds: int) -> None:
        """Store events of a day; `kinds`: delivery, hard, full, complaint, send, new."""
        sorts: dict[str, dict[str, Any]] = {
            "delivery": {"notification_type": "Delivery"},
            "hard": {
                "notification_type": "Bounce",
                "bounce_type": "Permanent",
                "bounce_sub_type": "General",
            },
            "full": {
                "notification_type": "Bounce",
                "bounce_type": "Transient",
                "bounce_sub_type": "MailboxFull",
            },
            "complaint": {"notification_type": "Complaint"},
            "send": {"notification_type": "Send"},
            "new": {"notification_type": "Teleport"},
        }
        events = [
            self._event(datetime.combine(day, time(12), UTC), source, **sorts[kind])
            for kind, number in kinds.items()
            for _ in range(number)
        ]
        with Store.connect(self.database_url) as store:
            store.insert(events)

    def at(self, moment: datetime, **kind: Any) -> None:
        with Store.connect(self.database_url) as store:
            store.insert([self._event(moment, "news@example.com", **kind)])

    def _event(self, moment: datetime, source: str, **kind: Any) -> FeedbackEvent:
        self.made += 1
        values: dict[str, Any] = {"bounce_type": None, "bounce_sub_type": None} | kind
        return FeedbackEvent(
            ses_message_id=f"0100-{self.made}",
            feedback_id=None,
            source=source,
            primary_recipient=f"person{self.made}@gmail.com",
            type_data={"status": "5.1.1"},
            configuration_set=None,
            event_at=moment,
            sns_message_id=None,
            dedupe_key=f"0100-{self.made}",
            **values,
        )

    def run(self, job: str, first: date | None = None, last: date = LAST) -> Outcome:
        """Run a job in this process; with days, for a range of them."""
        tags = {}
        if first:
            tags = {
                "dagster/asset_partition_range_start": str(first),
                "dagster/asset_partition_range_end": str(last),
            }
        definitions = build_definitions({"ses": self.ses})
        with dg.instance_for_test() as instance:
            result = definitions.resolve_job_def(job).execute_in_process(
                instance=instance, tags=tags, raise_on_error=False
            )
            return Outcome(
                success=result.success,
                days={
                    event.partition or "": {
                        name: value.value for name, value in event.materialization.metadata.items()
                    }
                    for event in result.get_asset_materialization_events()
                },
                checks={one.check_name: one for one in result.get_asset_check_evaluations()},
            )


@dataclass(frozen=True)
class Outcome:
    """What a run left behind: metadata by day, and checks by name."""

    success: bool
    days: dict[str, dict[str, Any]]
    checks: dict[str, Any]


@pytest.fixture
def bench(database: Database, environment: dict[str, str]) -> Bench:
    return Bench(database, environment["DATABASE_URL"])


def severity(check: Any) -> str:
    return "passed" if check.passed else str(check.severity.value)


# Rollups


def test_each_day_of_a_run_has_its_own_figures(bench: Bench) -> None:
    bench.day(LAST - timedelta(days=1), delivery=95, hard=3, full=2)
    bench.day(LAST, delivery=199, hard=1)
    outcome = bench.run("daily_rollup", LAST - timedelta(days=2))
    assert outcome.success
    assert {day: said["bounces"] for day, said in outcome.days.items()} == {
        "2026-02-26": 0,
        "2026-02-27": 5,
        "2026-02-28": 1,
    }
    said = outcome.days["2026-02-27"]
    assert (said["mails"], said["hard_bounces"], said["soft_bounces"]) == (100, 3, 2)
    assert said["bounce_rate_percent"] == 5.0
    assert said["mails_are"] == "Delivery + Bounce events"
    assert outcome.days["2026-02-28"]["bounce_rate_percent"] == 0.5
    assert "bounce_rate_percent" not in outcome.days["2026-02-26"]  # no mails: no rate


def test_the_last_day_has_a_picture_and_a_headline(bench: Bench) -> None:
    bench.day(LAST, delivery=1990, hard=10)
    outcome = bench.run("daily_rollup", LAST - timedelta(days=1))
    assert "data:image/png;base64," in outcome.days["2026-02-28"]["last_28_days"]
    assert "0.5 %" in outcome.days["2026-02-28"]["headline"]
    assert "last_28_days" not in outcome.days["2026-02-27"]


def test_running_again_changes_nothing(bench: Bench) -> None:
    bench.day(LAST, delivery=95, hard=5)
    first, second = (bench.run("daily_rollup", LAST) for _ in range(2))
    assert first.days == second.days
    assert second.checks["counters_equal_events"].passed


def test_a_year_is_one_run(bench: Bench) -> None:
    for month in range(1, 13):
        bench.day(date(2025, month, 3), delivery=10)
    outcome = bench.run("daily_rollup", date(2025, 1, 1), date(2025, 12, 31))
    assert outcome.success
    assert len(outcome.days) == 365
    assert sum(said["mails"] for said in outcome.days.values()) == 120


def test_counters_that_were_wrong_fail_their_check_once_and_are_corrected(bench: Bench) -> None:
    bench.day(LAST, delivery=95, hard=5)
    bench.database.execute("UPDATE public.ses_feedback_daily_totals SET count = count + 7")
    outcome = bench.run("daily_rollup", LAST)
    check = outcome.checks["counters_equal_events"]
    assert severity(check) == "ERROR"
    assert "14 counts had no event" in check.description
    assert outcome.days[str(LAST)]["mails"] == 100
    assert bench.run("daily_rollup", LAST).checks["counters_equal_events"].passed


def test_a_day_that_is_not_closed_is_refused(bench: Bench) -> None:
    today = datetime.now(UTC).date()
    assert not bench.run("daily_rollup", today - timedelta(days=1), today).success


def test_a_database_that_is_away_fails_the_run_with_one_sentence(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user@127.0.0.1:1/nowhere")
    assert not bench.run("daily_rollup", LAST).success


# Rates


@pytest.mark.parametrize(
    ("delivered", "bounced", "said"),
    [
        (9_800, 200, "passed"),  # 2 %
        (9_700, 300, "WARN"),  # 3 %: over half of the line
        (9_400, 600, "ERROR"),  # 6 %
    ],
)
def test_the_bounce_rate_warns_at_half_of_the_line_and_fails_at_it(
    bench: Bench, delivered: int, bounced: int, said: str
) -> None:
    for ago in range(7):
        bench.day(LAST - timedelta(days=ago), delivery=delivered // 7, hard=bounced // 7)
    check = bench.run("daily_rollup", LAST).checks["bounce_rate"]
    assert severity(check) == said
    assert f"up to {LAST}" in check.description
    assert "gmail.com" in check.description


def test_a_few_mails_alarm_nobody_however_many_bounce(bench: Bench) -> None:
    bench.day(LAST, delivery=50, hard=50)
    outcome = bench.run("daily_rollup", LAST)
    assert outcome.checks["bounce_rate"].passed
    assert "too few" in outcome.checks["bounce_rate"].description


def test_complaints_have_a_line_of_their_own(bench: Bench) -> None:
    bench.day(LAST, delivery=4_000, complaint=6)
    outcome = bench.run("daily_rollup", LAST)
    assert severity(outcome.checks["complaint_rate"]) == "ERROR"
    assert outcome.checks["bounce_rate"].passed


def test_an_incident_within_the_month_is_found_and_named(bench: Bench) -> None:
    for ago in range(28):
        incident = 12 <= ago < 15
        bench.day(LAST - timedelta(days=ago), source="shop@example.com", delivery=600, hard=6)
        bench.day(
            LAST - timedelta(days=ago),
            source="news@example.com",
            delivery=70 if incident else 99,
            full=30 if incident else 1,
        )
    check = bench.run("daily_rollup", LAST - timedelta(days=27)).checks["incidents"]
    assert severity(check) == "WARN"  # it is over
    assert "news@example.com" in check.description
    assert "MailboxFull" in check.description


def test_a_month_like_any_other_has_no_incident(bench: Bench) -> None:
    for ago in range(28):
        bench.day(LAST - timedelta(days=ago), delivery=600 + 10 * ago, hard=6)
    assert bench.run("daily_rollup", LAST).checks["incidents"].passed


def test_a_kind_that_nobody_knows_is_told(bench: Bench) -> None:
    bench.day(LAST, delivery=900, new=100)
    check = bench.run("daily_rollup", LAST).checks["unknown_kinds"]
    assert severity(check) == "WARN"
    assert "100 of 1,000 events" in check.description


def test_nothing_at_all_passes_every_check_with_a_sentence(bench: Bench) -> None:
    outcome = bench.run("daily_rollup", LAST)
    assert outcome.success
    assert {name: severity(check) for name, check in outcome.checks.items()} == dict.fromkeys(
        [
            "counters_equal_events",
            "bounce_rate",
            "complaint_rate",
            "incidents",
            "reconciliation",
            "unknown_kinds",
        ],
        "passed",
    )
    assert all(check.description for check in outcome.checks.values())


def test_a_check_looks_back_from_the_last_day_of_its_run_or_from_yesterday() -> None:
    now = datetime(2026, 3, 1, 0, 5, tzinfo=UTC)
    assert closed_day({}, now) == date(2026, 2, 28)
    assert closed_day({"dagster/partition": "2026-01-05"}, now) == date(2026, 1, 5)
    days = {
        "dagster/asset_partition_range_start": "2026-01-05",
        "dagster/asset_partition_range_end": "2026-01-09",
    }
    assert closed_day(days, now) == date(2026, 1, 9)


# Arrival


def test_feedback_that_ses_counts_and_we_do_not_have_is_told(bench: Bench) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    bench.day(yesterday, delivery=900)
    bench.ses.days = {yesterday: SentDay(attempts=1000)}
    check = bench.run("daily_rollup", yesterday, yesterday).checks["reconciliation"]
    assert severity(check) == "WARN"
    assert "900 mails here, 1,000 at SES" in check.description
    bench.ses.days = {yesterday: SentDay(attempts=920)}
    assert bench.run("daily_rollup", yesterday, yesterday).checks["reconciliation"].passed


def test_days_without_numbers_of_ses_are_not_called_equal(bench: Bench) -> None:
    check = bench.run("daily_rollup", LAST).checks["reconciliation"]
    assert check.passed
    assert "nothing to compare" in check.description


def test_mail_that_is_sent_without_any_outcome_is_silence(bench: Bench) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    bench.day(yesterday, send=200)
    check = bench.run("feedback_checks").checks["silence"]
    assert severity(check) == "ERROR"
    assert "200 mails were sent" in check.description


def test_ses_s_own_count_is_enough_to_hear_silence_in_the_last_hours(bench: Bench) -> None:
    bench.ses.recent = 500
    check = bench.run("feedback_checks").checks["silence"]
    assert severity(check) == "ERROR"
    assert "in the last hours 500 mails" in check.description.lower()


def test_what_was_sent_before_feedback_was_wired_is_neither_lost_nor_silent(bench: Bench) -> None:
    today = datetime.now(UTC).date()
    bench.ses.days = {today - timedelta(days=ago): SentDay(attempts=41_230) for ago in range(1, 14)}
    bench.ses.recent = 9_000
    bench.at(datetime.now(UTC) - timedelta(minutes=5), notification_type="Delivery")
    assert bench.run("feedback_checks").checks["silence"].passed
    yesterday = today - timedelta(days=1)
    check = bench.run("daily_rollup", yesterday, yesterday).checks["reconciliation"]
    assert check.passed
    assert "nothing to compare" in check.description


def test_incidents_that_go_on_are_listed_for_the_alerts(bench: Bench) -> None:
    for ago in range(28):
        going_on = ago < 2
        bench.day(
            LAST - timedelta(days=ago),
            delivery=700 if going_on else 990,
            full=300 if going_on else 10,
        )
    check = bench.run("daily_rollup", LAST).checks["incidents"]
    assert severity(check) == "ERROR"
    (incident,) = json.loads(check.metadata["ongoing"].value)
    assert incident["kind"] == "bounce"
    assert incident["sentence"] in check.description
    assert check.metadata["as_of"].value == str(LAST)


def test_an_account_at_rest_is_not_silent(bench: Bench) -> None:
    assert bench.run("feedback_checks").checks["silence"].passed


def test_an_event_from_the_future_is_told_and_a_clock_may_be_a_little_off(bench: Bench) -> None:
    now = datetime.now(UTC)
    bench.at(now + timedelta(minutes=2), notification_type="Delivery")
    assert bench.run("feedback_checks").checks["events_from_the_future"].passed
    bench.at(now + timedelta(days=400), notification_type="Delivery")
    check = bench.run("feedback_checks").checks["events_from_the_future"]
    assert severity(check) == "WARN"
    assert check.description.startswith("1 events are from the future")


def test_a_drain_runs_no_checks(bench: Bench) -> None:
    assert bench.run("process_feedback").checks == {}
