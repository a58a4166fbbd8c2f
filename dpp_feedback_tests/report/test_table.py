"""The CSV: it holds what the analysis holds, and no formula."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from dpp_feedback.report import table
from dpp_feedback.report.cells import defused
from dpp_feedback_tests.report import accounts

if TYPE_CHECKING:
    from dpp_feedback.feedback.analysis import Analysis


def _read(analysis: Analysis) -> Any:
    return pd.read_csv(io.BytesIO(table.csv(analysis)))


def test_what_is_read_back_equals_the_analysis() -> None:
    analysis = accounts.incident()
    read = _read(analysis)
    assert tuple(read.columns) == table.COLUMNS

    days = read[read.section == "day"]
    assert list(days["name"]) == [one.day.isoformat() for one in analysis.days]
    assert list(days.mails) == [one.tally.mails for one in analysis.days]
    assert list(days.bounces) == [one.tally.bounces for one in analysis.days]
    assert list(days.bounce_rate) == [one.bounce.value for one in analysis.days]
    assert list(days.complaint_high) == [one.complaint.high for one in analysis.days]

    (week,) = read[read.section == "week"].to_dict("records")
    assert week["bounce_rate"] == analysis.bounce.week.value
    assert week["bounce_low"] == analysis.bounce.week.low
    assert (week["first"], week["last"]) == ("2026-11-17", "2026-11-23")
    assert week["basis"] == "Send events"

    estimate = read[read.section == "estimate"].set_index("name")
    assert estimate.loc["bounce", "mails"] == analysis.bounce.estimate.mails
    assert estimate.loc["complaint", "mails"] == analysis.complaint.estimate.mails

    for section, groups in {
        "source": analysis.sources,
        "domain": analysis.domains,
        "sub_type": analysis.sub_types,
    }.items():
        rows = read[read.section == section]
        assert list(rows["name"]) == [one.name for one in groups]
        assert list(rows.bounces) == [one.bounce.events for one in groups]

    trends = read[read.section == "complaint_trend"].set_index("name")
    both = {"week": analysis.complaint.trend_week, "month": analysis.complaint.trend_month}
    assert list(trends.index) == list(both)
    for name, trend in both.items():
        assert trends.loc[name, "per_day"] == trend.per_day
        assert trends.loc[name, "per_day_error"] == trend.error
        assert trends.loc[name, "significant"] == ("yes" if trend.significant else "no")
    assert list(trends["first"]) == ["2026-11-17", "2026-10-27"]
    reached = read[read.section == "bounce_trend"].days_to_review
    assert list(reached) == [0, 0]

    causes = read[read.section == "bounce_cause"]
    assert list(causes.share) == [one.share for one in analysis.bounce.causes]
    assert list(causes.sub_type) == [one.sub_type for one in analysis.bounce.causes]

    (incident,) = read[read.section == "bounce_incident"].to_dict("records")
    assert incident["surplus"] == analysis.incidents[0].surplus
    assert incident["usual"] == analysis.incidents[0].usual


def test_figures_are_written_as_numbers() -> None:
    read = _read(accounts.normal())
    for name in ("mails", "bounces", "bounce_rate", "complaints", "complaint_rate", "share"):
        assert pd.api.types.is_numeric_dtype(read[name]), name
    assert "36000," in table.csv(accounts.normal()).decode()  # no decimal point, no comma


def test_an_empty_account_has_days_and_no_rates() -> None:
    read = _read(accounts.empty())
    assert len(read[read.section == "day"]) == 28
    assert read.bounce_rate.isna().all()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx"])
def test_text_that_a_spreadsheet_would_run_is_defused(text: str) -> None:
    assert defused(text) == f"'{text}"


def test_names_from_outside_are_defused_in_every_column_and_numbers_are_not() -> None:
    read = _read(accounts.hostile())
    texts = read.select_dtypes(exclude="number").stack()
    assert not texts.astype(str).str.match(r"^[=+\-@\t\r]").any()
    assert "'=cmd|' /C calc'!a0@example.com" in set(read["name"])
    assert "'@evil.example" in set(read["source"].dropna())


def test_what_is_no_formula_stays_as_it_is() -> None:
    assert defused("news@example.com") == "news@example.com"
