"""The asset: from counters in Postgres to files in a folder and a message to a webhook."""

from __future__ import annotations

import json
import threading
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from dpp_feedback.assets.report import DayRefused, bounce_rate_report, closed_day
from dpp_feedback.report import charts
from dpp_feedback.resources import AlertChannels, FeedbackStore, ReportFolder
from dpp_feedback_tests.report import accounts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from dpp_feedback.feedback.analysis import Analysis
    from dpp_feedback.feedback.counts import Count
    from dpp_feedback.report.words import Kind

NOW = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def folder(
    tmp_path: Path,
    database: psycopg.Connection[Any],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The reports' folder, beside a database that counted a month with an incident."""
    bad = accounts.counted(accounts.AS_OF, "Bounce", 2_000, sub_type="Transient/ContentRejected")
    _count(database, [*accounts.month_of(6_000, 60, 48, 1), bad])
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("SES_FEEDBACK_REPORTS", str(tmp_path / "reports"))
    for name in ("ALERT_TOPIC_ARN", "SLACK_WEBHOOK_URL", "MAIL_FROM", "MAIL_TO"):
        monkeypatch.delenv(f"SES_FEEDBACK_{name}", raising=False)
    return tmp_path / "reports"


def _count(database: psycopg.Connection[Any], counts: list[Count]) -> None:
    """Fill both counter tables as the insert of events does."""
    for one in counts:
        if not one.count:
            continue
        row = (
            *(one.day, one.notification_type, one.bounce_type, one.bounce_sub_type),
            *(one.complaint_sub_type, one.automatic_reply, one.source, one.configuration_set),
        )
        database.execute(
            "INSERT INTO public.ses_feedback_daily_counts VALUES (" + "%s, " * 9 + "%s)",
            (*row, one.recipient_domain, one.count),
        )
        database.execute(
            "INSERT INTO public.ses_feedback_daily_totals VALUES (" + "%s, " * 8 + "%s)",
            (*row, one.count),
        )


def _run(
    instance: dg.DagsterInstance, config: dict[str, Any], *, ok: bool = True
) -> dict[str, Any] | str:
    """Materialize the report; what its metadata says, or why it failed."""
    result = dg.materialize(
        [bounce_rate_report],
        instance=instance,
        resources={
            "store": FeedbackStore(),
            "reports": ReportFolder(),
            "alert_channels": AlertChannels(),
        },
        run_config={"ops": {"write_bounce_rate_report": {"config": config}}},
        raise_on_error=False,
    )
    assert result.success is ok
    if not ok:
        failure = result.failure_data_for_node("write_bounce_rate_report")
        assert failure is not None
        assert failure.user_failure_data is not None
        return failure.user_failure_data.description or ""
    (done,) = result.asset_materializations_for_node("write_bounce_rate_report")
    return {name: value.value for name, value in done.metadata.items()}


def test_the_three_files_are_written_and_named_in_the_metadata(
    instance: dg.DagsterInstance, folder: Path
) -> None:
    said = _run(instance, {"as_of": "2026-11-23"})
    assert isinstance(said, dict)
    names = [f"bounce-rates-2026-11-23.{ending}" for ending in ("csv", "html", "png")]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert [said[ending] for ending in ("csv", "html", "png")] == [str(folder / n) for n in names]
    assert said["headline"].startswith("Bounces 7.4 % of 36,000 mails in 7 days, above AWS's")
    assert said["bounce_rate"] == pytest.approx(2_648 / 36_000)
    assert said["mails"] == 36_000
    assert said["picture"].startswith("![bounce and complaint rates](data:image/png;base64,")
    assert len(said["picture"]) < 80_000
    assert said["sent_to"] == "nobody"
    assert "not_sent" not in said


def test_running_twice_writes_the_same(instance: dg.DagsterInstance, folder: Path) -> None:
    _run(instance, {"as_of": "2026-11-23"})
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    _run(instance, {"as_of": "2026-11-23"})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_report_is_set_beside_the_one_of_the_day_before_it(
    instance: dg.DagsterInstance, folder: Path
) -> None:
    for day in ("2026-11-20", "2026-11-22", "2026-11-23"):
        said = _run(instance, {"as_of": day})
    assert isinstance(said, dict)
    assert said["last_report"] == "2026-11-22"
    page = (folder / "bounce-rates-2026-11-23.html").read_text()
    assert "The last report was of 22 November 2026." in page
    assert "New incident. Since 23 November 2026" in page
    again = _run(instance, {"as_of": "2026-11-20"})
    assert isinstance(again, dict)
    assert again["last_report"] == "none"  # a newer report is no previous one


def test_without_a_day_it_is_the_last_closed_one_s(
    instance: dg.DagsterInstance, folder: Path
) -> None:
    before = closed_day(None, datetime.now(UTC))
    said = _run(instance, {})
    assert isinstance(said, dict)
    days = {before, closed_day(None, datetime.now(UTC))}
    assert date.fromisoformat(said["as_of"]) in days  # two, when 01:00 came between
    assert folder.exists()


def test_a_day_that_has_not_ended_is_refused_in_a_sentence(
    instance: dg.DagsterInstance, folder: Path
) -> None:
    said = _run(instance, {"as_of": "2999-01-01"}, ok=False)
    assert isinstance(said, str)
    assert said.startswith("as_of is 2999-01-01, a day that has not ended in UTC: ask for ")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("asked", "day"),
    [
        (None, date(2026, 11, 23)),
        ("2026-11-23", date(2026, 11, 23)),
        (" 2025-01-01 ", date(2025, 1, 1)),
    ],
)
def test_the_day_is_the_one_asked_for_or_yesterday(asked: str | None, day: date) -> None:
    assert closed_day(asked, NOW) == day


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("America/Los_Angeles", date(2026, 11, 23)),
        ("Europe/Berlin", date(2026, 11, 23)),
        ("Asia/Bangkok", date(2026, 11, 23)),  # UTC+7: an hour after midnight
        ("Asia/Singapore", date(2026, 11, 22)),  # UTC+8: at midnight
        ("Asia/Seoul", date(2026, 11, 22)),
    ],
)
def test_at_eight_in_the_morning_the_day_is_over_for_an_hour(zone: str, day: date) -> None:
    eight = datetime(2026, 11, 24, 8, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    assert closed_day(None, eight) == day
    assert closed_day(None, eight.replace(hour=0, minute=59)) == eight.date() - timedelta(days=2)


def test_a_day_that_ended_a_minute_ago_is_reported_when_asked_for() -> None:
    assert closed_day("2026-11-23", NOW.replace(hour=0, minute=1)) == date(2026, 11, 23)


@pytest.mark.parametrize("asked", ["2026-11-24", "2026-11-25", "yesterday", "", "2026-13-01"])
def test_any_other_day_is_refused(asked: str) -> None:
    with pytest.raises(DayRefused, match="as_of is "):
        closed_day(asked, NOW)


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """A server that takes what is posted, as Slack's webhook does: there is no stand-in for it."""
    posted: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SES_FEEDBACK_SLACK_WEBHOOK_URL", f"http://127.0.0.1:{server.server_port}/x")
    yield posted
    server.shutdown()
    server.server_close()


def test_the_headline_and_the_link_go_to_slack_unless_sending_is_off(
    instance: dg.DagsterInstance, folder: Path, slack: list[dict[str, Any]]
) -> None:
    said = _run(instance, {"as_of": "2026-11-23", "send": False})
    assert isinstance(said, dict)
    assert said["sent_to"] == "nobody"
    assert slack == []
    said = _run(instance, {"as_of": "2026-11-23"})
    assert isinstance(said, dict)
    assert said["sent_to"] == "Slack"
    (posted,) = slack
    assert said["headline"] in posted["text"]
    assert str(folder / "bounce-rates-2026-11-23.html") in posted["text"]


def test_each_chart_is_drawn_once_for_files_and_messages(
    instance: dg.DagsterInstance,
    folder: Path,
    slack: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[tuple[Any, ...]] = []
    draw = charts.chart

    def counting(analysis: Analysis, kind: Kind, **how: Any) -> bytes:
        drawn.append((kind, *how.items()))
        return draw(analysis, kind, **how)

    monkeypatch.setattr(charts, "chart", counting)
    _run(instance, {"as_of": "2026-11-23"})
    assert len(slack) == 1
    assert folder.exists()
    assert len(drawn) == len(set(drawn)) == 8


def test_that_nobody_takes_it_fails_nothing_that_is_written(
    instance: dg.DagsterInstance, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SES_FEEDBACK_SLACK_WEBHOOK_URL", "http://127.0.0.1:1/secret")
    said = _run(instance, {"as_of": "2026-11-23"})
    assert isinstance(said, dict)
    assert said["sent_to"] == "nobody"
    assert "Slack does not answer" in said["not_sent"]
    assert "secret" not in said["not_sent"]
    assert len(list(folder.iterdir())) == 3
