"""The asset `bounce_rate_report`: writes the report of one day, and sends it.

How the report reads and looks is report/'s business; where it goes, destination's and notify's.

Without a day it is the report of the last one that was over for an hour in UTC. Written at 08:00,
it covers the days up to yesterday's date from UTC-12 to UTC+7, and up to the date before that
further east (Singapore, Seoul, Sydney), where 08:00 comes before 01:00 UTC.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of assets at run time.

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import dagster as dg
from pydantic import Field

from dpp_feedback.assets.loading import load_analysis
from dpp_feedback.errors import FeedbackError
from dpp_feedback.feedback.analysis import Analysis
from dpp_feedback.plainly import told_plainly
from dpp_feedback.report import charts
from dpp_feedback.report.charts import Chart
from dpp_feedback.report.sentences import headline, side_of
from dpp_feedback.report.words import KINDS, Kind
from dpp_feedback.resources import AlertChannels, FeedbackStore, ReportFolder

_CLOSING = timedelta(hours=1)  # after midnight: the day's last messages are still in the queue
_LOOKED_AT = 100  # materializations among which the previous report is sought


class ReportConfig(dg.Config):
    """Which day, and whether anybody is told."""

    as_of: str | None = Field(
        default=None,
        description="The last day of the report, in UTC, like 2026-11-23. Default: yesterday, from "
        "01:00 UTC on.",
    )
    send: bool = Field(default=True, description="Send it through the channels that are set.")


class DayRefused(FeedbackError):
    """There is no report of the day that is asked for."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """Who took the report: channels by name; and why the others did not."""

    to: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)


# As a multi-asset of one, because its op must not have the name of the job.
@dg.multi_asset(
    name="write_bounce_rate_report",
    specs=[
        dg.AssetSpec(
            "bounce_rate_report",
            deps=["daily_bounce_rates"],
            group_name="ses_feedback",
            kinds={"pandas", "matplotlib"},
            description="The bounce and complaint rates of 28 days in words, charts and tables, "
            "with what to do about each cause: one HTML file, the same as CSV and PNG, among the "
            "reports. Sent by mail, and its headline by Slack and SNS, when these are set.",
            # On weekdays at 08:00 in SES_FEEDBACK_TIME_ZONE, wherever that is.
            freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(days=4)),
        )
    ],
)
def bounce_rate_report(
    context: dg.AssetExecutionContext,
    config: ReportConfig,
    store: FeedbackStore,
    reports: ReportFolder,
    alert_channels: AlertChannels,
) -> dg.MaterializeResult[None]:
    """Write the report, and send it. That nobody takes it undoes nothing that is written."""
    with told_plainly():
        as_of = closed_day(config.as_of, datetime.now(UTC))
        last = _last_report(context, as_of)
        with store.connect() as database:
            analysis = load_analysis(database, as_of)
            before = load_analysis(database, last) if last else None
        drawn, picture = charts.drawn(analysis), charts.picture(analysis)
        files = _write(reports, analysis, before, drawn, picture)
    sent = _Sent()
    if config.send:
        sent = _send(alert_channels, analysis, before, drawn, files["html"])
    for channel, why in sent.failed.items():
        context.log.warning(f"the report is written, but {channel} did not take it: {why}")
    return dg.MaterializeResult(metadata=_metadata(analysis, last, picture, files, sent))


def closed_day(asked: str | None, now: datetime) -> date:
    """Choose the day of the report: the one asked for, or the last that is over for an hour.

    Args:
        asked: an ISO date, or None.
        now: in UTC.

    Raises:
        DayRefused: it is no date, or has not ended.
    """
    if asked is None:
        return (now - _CLOSING).date() - timedelta(days=1)
    today = now.date()
    try:
        day = date.fromisoformat(asked.strip())
    except ValueError:
        raise DayRefused(
            "as_of is no day: write one like 2026-11-23, or leave it out for the last one."
        ) from None
    if day >= today:
        raise DayRefused(
            f"as_of is {day}, a day that has not ended in UTC: ask for "
            f"{today - timedelta(days=1)} or an earlier one."
        )
    return day


def _last_report(context: dg.AssetExecutionContext, as_of: date) -> date | None:
    """Find the day of the previous report: the newest one before this day."""
    found = context.instance.fetch_materializations(context.asset_key, limit=_LOOKED_AT).records
    days = []
    for record in found:
        said = record.asset_materialization and record.asset_materialization.metadata.get("as_of")
        if isinstance(said, dg.TextMetadataValue) and said.text:
            days.append(date.fromisoformat(said.text))
    return max((day for day in days if day < as_of), default=None)


def _write(
    reports: ReportFolder,
    analysis: Analysis,
    before: Analysis | None,
    drawn: Mapping[Kind, Chart],
    picture: bytes,
) -> dict[str, str]:
    """Write the three files; the same day gives the same names. Returns where, by ending."""
    from dpp_feedback.report import html, table

    page = html.page(analysis, before, html.embedded(drawn))
    contents = {
        "html": (page.encode(), "text/html; charset=utf-8"),
        "csv": (table.csv(analysis), "text/csv; charset=utf-8"),
        "png": (picture, "image/png"),
    }
    destination = reports.connect()
    return {
        ending: destination.write(f"bounce-rates-{analysis.as_of}.{ending}", *content)
        for ending, content in contents.items()
    }


def _send(
    alert_channels: AlertChannels,
    analysis: Analysis,
    before: Analysis | None,
    drawn: Mapping[Kind, Chart],
    link: str,
) -> _Sent:
    from dpp_feedback.report import mail

    try:
        channels = alert_channels.connect()
        if not channels.any:
            return _Sent()
        message = mail.compose(analysis, before, drawn, link)
        sent = channels.send_report(headline(analysis), message, link)
    except FeedbackError as error:  # a malformed setting, or no channel took it
        return _Sent(failed={"every channel": str(error)})
    return _Sent(sent.by, sent.failed)


def _metadata(
    analysis: Analysis, last: date | None, picture: bytes, files: Mapping[str, str], sent: _Sent
) -> dict[str, dg.MetadataValue]:
    """The headline, the picture, and numbers, which Dagster plots over the reports."""
    from dpp_feedback.report.html import data_url

    metadata: dict[str, dg.MetadataValue] = {
        "headline": dg.MetadataValue.text(headline(analysis)),
        "picture": dg.MetadataValue.md(f"![bounce and complaint rates]({data_url(picture)})"),
        "as_of": dg.MetadataValue.text(analysis.as_of.isoformat()),
        "last_report": dg.MetadataValue.text(last.isoformat() if last else "none"),
        "mails": dg.MetadataValue.int(analysis.week.mails),
        "incidents": dg.MetadataValue.int(len(analysis.incidents)),
    }
    for kind in KINDS:
        side = side_of(analysis, kind)
        metadata[f"{kind}_level"] = dg.MetadataValue.text(str(side.level))
        for name, rate in (("rate", side.week), ("rate_estimated", side.estimate)):
            if rate.value is not None:
                metadata[f"{kind}_{name}"] = dg.MetadataValue.float(rate.value)
    for ending, where in files.items():
        url = where.startswith("s3://")
        metadata[ending] = dg.MetadataValue.url(where) if url else dg.MetadataValue.path(where)
    metadata["sent_to"] = dg.MetadataValue.text(", ".join(sent.to) or "nobody")
    if sent.failed:
        whys = "; ".join(f"{channel}: {why}" for channel, why in sent.failed.items())
        metadata["not_sent"] = dg.MetadataValue.text(whys)
    return metadata
