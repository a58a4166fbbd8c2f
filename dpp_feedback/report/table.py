"""The report's figures as one tidy CSV table. Nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dpp_feedback.feedback.analysis import WEEK
from dpp_feedback.report.cells import defused
from dpp_feedback.report.sentences import cause_name, side_of
from dpp_feedback.report.words import KINDS

if TYPE_CHECKING:
    from datetime import date

    import pandas as pd

    from dpp_feedback.feedback.analysis import Analysis, Group
    from dpp_feedback.feedback.causes import Cause
    from dpp_feedback.feedback.incidents import Incident
    from dpp_feedback.feedback.rates import Rate
    from dpp_feedback.feedback.trend import Trend
    from dpp_feedback.report.words import Kind

_WHOLE = ("mails", "bounces", "complaints", "surplus", "days_to_review")
_REAL = (
    "bounce_rate",
    "bounce_low",
    "bounce_high",
    "complaint_rate",
    "complaint_low",
    "complaint_high",
    "share",
    "usual",
    "per_day",
    "per_day_error",
)
_TEXT = ("section", "name", "first", "last", "basis", "recipient_domain", "sub_type", "source")
COLUMNS = (
    *("section", "name", "first", "last", "mails", "basis"),
    *("bounces", "bounce_rate", "bounce_low", "bounce_high"),
    *("complaints", "complaint_rate", "complaint_low", "complaint_high"),
    *("share", "usual", "surplus", "recipient_domain", "sub_type", "source"),
    *("per_day", "per_day_error", "significant", "days_to_review"),
)


def frame(analysis: Analysis) -> pd.DataFrame:
    """Put all figures into one table; rates, shares and intervals from 0 to 1.

    Sections: `week`, `month`, `yesterday`; `estimate` (one row for each of the two rates, whose
    mails differ); `bounce_trend` and `complaint_trend`, over week and month; `day`; `source`,
    `configuration_set`, `domain` and `sub_type` over the month; `bounce_cause` and
    `complaint_cause` over the week; `bounce_incident`, `complaint_incident`.

    The fields of a trend are those of `feedback.trend.Trend`. A field that a section does not
    have is empty.
    """
    import pandas as pd

    table = pd.DataFrame(_rows(analysis), columns=list(COLUMNS))
    table[list(_WHOLE)] = table[list(_WHOLE)].astype("Int64")
    table[list(_REAL)] = table[list(_REAL)].astype("Float64")
    return table


def csv(analysis: Analysis) -> bytes:
    """Write the table as UTF-8; text that a spreadsheet would take for a formula gets a "'"."""
    table = frame(analysis)
    for name in _TEXT:
        table[name] = table[name].map(defused, na_action="ignore")
    written: str = table.to_csv(index=False, lineterminator="\n")
    return written.encode()


def _rows(analysis: Analysis) -> list[dict[str, Any]]:
    first, last = analysis.days[0].day, analysis.as_of
    week = analysis.days[-WEEK:][0].day
    spans = {"yesterday": (last, last), "week": (week, last), "month": (first, last)}
    rows = [
        _row(name, name, *span, getattr(analysis.bounce, name), getattr(analysis.complaint, name))
        for name, span in spans.items()
    ]
    for kind in KINDS:
        span = (analysis.estimate_first, analysis.estimate_last)
        rows.append(_one("estimate", kind, kind, *span, side_of(analysis, kind).estimate))
        rows += [
            _trend(kind, name, *spans[name], trend)
            for name, trend in (
                ("week", side_of(analysis, kind).trend_week),
                ("month", side_of(analysis, kind).trend_month),
            )
        ]
    rows += [
        _row("day", one.day.isoformat(), one.day, one.day, one.bounce, one.complaint)
        for one in analysis.days
    ]
    groups: dict[str, tuple[Group, ...]] = {
        "source": analysis.sources,
        "configuration_set": analysis.configuration_sets,
        "domain": analysis.domains,
        "sub_type": analysis.sub_types,
    }
    for section, found in groups.items():
        rows += [_row(section, one.name, first, last, one.bounce, one.complaint) for one in found]
    for kind in KINDS:
        causes = side_of(analysis, kind).causes
        rows += [_cause(kind, cause, week, last) for cause in causes]
    return rows + [_incident(incident) for incident in analysis.incidents]


def _row(
    section: str, name: str, first: date, last: date, bounce: Rate, complaint: Rate
) -> dict[str, Any]:
    return _one(section, name, "bounce", first, last, bounce) | _figures("complaint", complaint)


def _one(
    section: str, name: str, kind: Kind, first: date, last: date, rate: Rate
) -> dict[str, Any]:
    return {
        "section": section,
        "name": name,
        "first": first.isoformat(),
        "last": last.isoformat(),
        "mails": rate.mails,
        "basis": str(rate.basis),
    } | _figures(kind, rate)


def _figures(kind: Kind, rate: Rate) -> dict[str, Any]:
    return {
        f"{kind}s": rate.events,
        f"{kind}_rate": rate.value,
        f"{kind}_low": rate.low,
        f"{kind}_high": rate.high,
    }


def _trend(kind: Kind, name: str, first: date, last: date, trend: Trend) -> dict[str, Any]:
    return {
        "section": f"{kind}_trend",
        "name": name,
        "first": first.isoformat(),
        "last": last.isoformat(),
        "per_day": trend.per_day,
        "per_day_error": trend.error,
        "significant": "yes" if trend.significant else "no",
        "days_to_review": trend.days_to_review,
    }


def _cause(kind: Kind, cause: Cause, first: date, last: date) -> dict[str, Any]:
    return {
        "section": f"{kind}_cause",
        "name": cause_name(cause),
        "first": first.isoformat(),
        "last": last.isoformat(),
        f"{kind}s": cause.events,
        "share": cause.share,
        "recipient_domain": cause.recipient_domain,
        "sub_type": cause.sub_type,
        "source": cause.source,
    }


def _incident(incident: Incident) -> dict[str, Any]:
    kind: Kind = "bounce" if incident.kind == "bounce" else "complaint"
    name = f"{incident.dimension} {incident.name}".strip()
    row = _one(f"{kind}_incident", name, kind, incident.first, incident.last, incident.rate)
    return row | {
        "usual": incident.usual,
        "surplus": incident.surplus,
        "recipient_domain": incident.cause.recipient_domain,
        "sub_type": incident.cause.sub_type,
        "source": incident.cause.source,
    }
