"""Which days a check is about, and their analysis."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from dpp_feedback.assets.loading import load_analysis
from dpp_feedback.plainly import told_plainly

if TYPE_CHECKING:
    from collections.abc import Mapping

    import dagster as dg

    from dpp_feedback.feedback.analysis import Analysis
    from dpp_feedback.resources import FeedbackStore


def closed_day(tags: Mapping[str, str], now: datetime) -> date:
    """Say from which day a check looks back: the last of its run's days, or yesterday (UTC).

    So a backfill of last month is judged by last month, and a check run by itself by today.
    """
    for name in ("dagster/asset_partition_range_end", "dagster/partition"):
        if name in tags:
            return date.fromisoformat(tags[name])
    return now.date() - timedelta(days=1)


def analysis_of(context: dg.AssetCheckExecutionContext, store: FeedbackStore) -> Analysis:
    """Load the analysis of the run's last day.

    Raises:
        dagster.Failure: the counters cannot be read, or a setting is malformed.
    """
    with told_plainly(), store.connect() as database:
        return load_analysis(database, closed_day(context.run.tags, datetime.now(UTC)))
