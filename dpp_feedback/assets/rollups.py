"""The asset `daily_bounce_rates`: each closed day's counters, compared with the events, and rated.

The counters are kept by the insert itself; this makes sure of them, and shows each day's figures.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of assets at run time.

import warnings
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from dpp_feedback.assets.loading import load_analysis
from dpp_feedback.daily_counts import Difference
from dpp_feedback.errors import FeedbackError
from dpp_feedback.feedback.analysis import Analysis
from dpp_feedback.feedback.estimate import by_day
from dpp_feedback.feedback.rates import Rate, Tally, bounce_rate, complaint_rate
from dpp_feedback.ingest import ses_feedback_events
from dpp_feedback.plainly import told_plainly
from dpp_feedback.resources import FeedbackStore

days = dg.DailyPartitionsDefinition(start_date="2025-01-01", timezone="UTC")
LATE = 7
"""Days that the nightly run does again: most feedback that comes late comes within a week."""

_EQUAL = "counters_equal_events"


class DayNotClosed(FeedbackError):
    """A day was asked for that is not over yet."""


with warnings.catch_warnings():
    # backfill_policy is in beta: without it a year is 365 runs.
    warnings.simplefilter("ignore", dg.BetaWarning)

    @dg.asset(
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[ses_feedback_events],
        group_name="ses_feedback",
        kinds={"postgres"},
        description="Bounces and complaints of each closed day (UTC), over the mails sent: ours, "
        "by the rules of docs/rates.md. The figures come from the daily counters, which are "
        "recounted from the events first, and corrected where they differ.",
        metadata={
            "dagster/table_name": "public.ses_feedback_daily_counts",
            "dagster/column_schema": dg.TableSchema(
                [
                    dg.TableColumn("day", "date", "In UTC, by the event's own time."),
                    dg.TableColumn("notification_type", "text", "SES's kind of event."),
                    dg.TableColumn("bounce_type", "text", "bounceType, verbatim."),
                    dg.TableColumn("bounce_sub_type", "text", "bounceSubType, verbatim."),
                    dg.TableColumn("complaint_sub_type", "text", "complaintSubType, verbatim."),
                    dg.TableColumn("automatic_reply", "boolean", "No bounce of ours."),
                    dg.TableColumn("source", "text", "Sending address without +label."),
                    dg.TableColumn("configuration_set", "text", "Of the mail."),
                    dg.TableColumn("recipient_domain", "text", "Of the recipient."),
                    dg.TableColumn("count", "bigint", "Events: per notification and recipient."),
                ]
            ),
        },
        # The nightly run comes at 00:30 UTC, and takes seconds.
        freshness_policy=dg.FreshnessPolicy.cron(
            deadline_cron="0 3 * * *", lower_bound_delta=timedelta(hours=3)
        ),
        check_specs=[
            dg.AssetCheckSpec(
                _EQUAL,
                asset="daily_bounce_rates",
                description="The daily counters say what the events say. Where they did not, they "
                "have been corrected.",
            )
        ],
    )
    def daily_bounce_rates(
        context: dg.AssetExecutionContext, store: FeedbackStore
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]  # or Dagster refuses
        """Recount the run's days, correct the counters, and show each day's figures."""
        first, last = (date.fromisoformat(context.partition_keys[end]) for end in (0, -1))
        with told_plainly():
            _require_closed(last, datetime.now(UTC).date())
        with told_plainly(), store.connect() as database:
            floor = database.daily_counts.floor()
            differences = database.daily_counts.mend(first, last)
            tallies = by_day(database.daily_counts.totals(first, last))
            analysis = load_analysis(database, last)
        for key in context.partition_keys:
            figures = _figures(tallies.get(date.fromisoformat(key), Tally()))
            if key == context.partition_keys[-1]:
                figures |= _shown(analysis, context.log)
            context.add_asset_metadata(figures, partition_key=key)
        if floor and first < floor:
            context.log.info(
                f"Days before {floor} are not recounted: their events have been removed by "
                "retention, and their counters stay."
            )
        return dg.MaterializeResult(check_results=[_equal(differences, first, last, floor)])


def _require_closed(last: date, today: date) -> None:
    if last >= today:
        raise DayNotClosed(
            f"{last} is not over yet in UTC, so its rates would change: choose days up to "
            f"{today - timedelta(days=1)}."
        )


def _shown(analysis: Analysis, log: dg.DagsterLogManager) -> dict[str, dg.MetadataValue]:
    """What a person sees first: the state in a sentence, and the last weeks in a picture."""
    from dpp_feedback.report.charts import picture
    from dpp_feedback.report.html import data_url
    from dpp_feedback.report.sentences import headline

    shown: dict[str, dg.MetadataValue] = {"headline": dg.MetadataValue.text(headline(analysis))}
    try:
        drawn = data_url(picture(analysis))
    except Exception as error:
        log.warning(f"there is no picture of the last 28 days: {type(error).__name__}")
    else:
        shown["last_28_days"] = dg.MetadataValue.md(f"![Rates]({drawn})")
    return shown


def _figures(tally: Tally) -> dict[str, dg.MetadataValue]:
    """Numbers, which Dagster plots over the days."""
    metadata: dict[str, dg.MetadataValue] = {
        "mails": dg.MetadataValue.int(tally.mails),
        "mails_are": dg.MetadataValue.text(tally.basis.value),
        "delivered": dg.MetadataValue.int(tally.deliveries),
        "bounces": dg.MetadataValue.int(tally.bounces),
        "hard_bounces": dg.MetadataValue.int(tally.hard_bounces),
        "soft_bounces": dg.MetadataValue.int(tally.soft_bounces),
        "automatic_replies": dg.MetadataValue.int(tally.automatic_replies),
        "suppressed": dg.MetadataValue.int(tally.suppressed_bounces + tally.suppressed_complaints),
        "complaints": dg.MetadataValue.int(tally.complaints),
        "unknown_kinds": dg.MetadataValue.int(tally.unknown),
    }
    for name, rate in (("bounce", bounce_rate(tally)), ("complaint", complaint_rate(tally))):
        metadata |= _rate(name, rate)
    return metadata


def _rate(name: str, rate: Rate) -> dict[str, dg.MetadataValue]:
    if rate.value is None or rate.low is None or rate.high is None:
        return {}
    return {
        f"{name}_rate_percent": dg.MetadataValue.float(round(100 * rate.value, 4)),
        f"{name}_rate_95_percent_interval": dg.MetadataValue.text(
            f"{100 * rate.low:.3g} to {100 * rate.high:.3g} %"
        ),
    }


def _equal(
    differences: Sequence[Difference], first: date, last: date, floor: date | None
) -> dg.AssetCheckResult:
    missing = sum(one.missing for one in differences)
    surplus = sum(one.surplus for one in differences)
    if differences:
        said = (
            f"On {len(differences)} of the days from {first} to {last} the counters were wrong: "
            f"{missing} events had not been counted, {surplus} counts had no event. They are "
            "corrected. Find out what wrote to the tables beside process_feedback."
        )
    elif floor and last < floor:
        said = f"Not recounted: events from before {floor} have been removed, their counts stay."
    else:
        said = f"From {first} to {last} the counters say what the events say."
    return dg.AssetCheckResult(
        check_name=_EQUAL,
        passed=not differences,
        severity=dg.AssetCheckSeverity.ERROR,
        description=said,
        metadata={
            "days_that_differed": dg.MetadataValue.int(len(differences)),
            "not_counted": dg.MetadataValue.int(missing),
            "counted_without_event": dg.MetadataValue.int(surplus),
            "days_not_recounted": dg.MetadataValue.int(
                max(0, (min(floor, last + timedelta(days=1)) - first).days) if floor else 0
            ),
        },
    )
