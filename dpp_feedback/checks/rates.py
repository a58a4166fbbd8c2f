"""Checks on `daily_bounce_rates`: how near AWS's lines the rates are, and what stands out."""

# No `from __future__ import annotations`: Dagster reads the annotations of checks at run time.

import json
from collections.abc import Callable, Iterator, Sequence

import dagster as dg

from dpp_feedback.assets.rollups import daily_bounce_rates
from dpp_feedback.checks.looking_back import analysis_of
from dpp_feedback.feedback.analysis import Analysis, Side
from dpp_feedback.feedback.incidents import Incident
from dpp_feedback.feedback.rates import Level
from dpp_feedback.feedback.silence import outcomes
from dpp_feedback.report.sentences import (
    cause_sentence,
    days_sentence,
    incident_sentence,
    present_trend,
    side_of,
    side_sentence,
)
from dpp_feedback.report.words import Kind
from dpp_feedback.resources import FeedbackStore

_WARN, _ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
_SEVERITY = {Level.WATCH: _WARN, Level.REVIEW: _ERROR, Level.PAUSE: _ERROR}
_UNKNOWN_SHARE = 0.001
_TOLD = 10  # incidents; a flood of senders that nobody knows may make hundreds


def _rate(analysis: Analysis, kind: Kind) -> dg.AssetCheckResult:
    side = side_of(analysis, kind)
    said = [side_sentence(kind, side, analysis.min_volume), days_sentence(present_trend(side))]
    if side.causes:
        said.append(f"most from {cause_sentence(side.causes[0])}")
    sentence = "; ".join(said)
    return dg.AssetCheckResult(
        check_name=f"{kind}_rate",
        passed=side.level not in _SEVERITY,
        severity=_SEVERITY.get(side.level, _WARN),
        description=f"{sentence[:1].upper()}{sentence[1:]} (up to {analysis.as_of}).",
        metadata={"as_of": dg.MetadataValue.text(analysis.as_of.isoformat()), **_figures(side)},
    )


def _figures(side: Side) -> dict[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {
        "level": dg.MetadataValue.text(side.level.value),
        "mails_in_7_days": dg.MetadataValue.int(side.week.mails),
    }
    for name, rate in (
        ("percent_in_7_days", side.week),
        ("percent_in_28_days", side.month),
        ("percent_by_aws_estimate", side.estimate),
    ):
        if rate.value is not None:
            metadata[name] = dg.MetadataValue.float(round(100 * rate.value, 4))
    left = present_trend(side).days_to_review
    if left is not None:
        metadata["days_to_review_line"] = dg.MetadataValue.int(left)
    return metadata


def _incidents(analysis: Analysis) -> dg.AssetCheckResult:
    found = analysis.incidents
    said = [incident_sentence(incident) for incident in found[:_TOLD]]
    if len(found) > _TOLD:
        said.append(f"And {len(found) - _TOLD:,} more.")
    return dg.AssetCheckResult(
        check_name="incidents",
        passed=not found,
        severity=_ERROR if any(incident.ongoing for incident in found) else _WARN,
        description=" ".join(said) or f"Nothing stands out in the 28 days up to {analysis.as_of}.",
        metadata={
            "as_of": dg.MetadataValue.text(analysis.as_of.isoformat()),
            "ongoing": dg.MetadataValue.text(json.dumps(_ongoing(found))),
            "incidents": dg.MetadataValue.int(len(found)),
            "events_beyond_the_usual": dg.MetadataValue.int(sum(one.surplus for one in found)),
        },
    )


def _ongoing(found: Sequence[Incident]) -> list[dict[str, str]]:
    """What still goes on, for the alerts: each is one of its own."""
    return [
        {
            "kind": one.kind,
            "dimension": one.dimension,
            "name": one.name,
            "sentence": incident_sentence(one),
        }
        for one in found
        if one.ongoing
    ][:_TOLD]


def _unknown_kinds(analysis: Analysis) -> dg.AssetCheckResult:
    month = analysis.month
    everything = outcomes(month) + month.sends + month.other + month.unknown
    share = month.unknown / everything if everything else 0.0
    said = f"{month.unknown:,} of {everything:,} events in 28 days are of an unknown kind."
    if month.unknown:
        said += (
            " `select notification_type, sum(count) from public.ses_feedback_daily_totals group "
            "by 1` names them; a newer dpp_feedback may know them."
        )
    return dg.AssetCheckResult(
        check_name="unknown_kinds",
        passed=share < _UNKNOWN_SHARE,
        severity=_WARN,
        description=said,
        metadata={
            "as_of": dg.MetadataValue.text(analysis.as_of.isoformat()),
            "unknown_percent": dg.MetadataValue.float(round(100 * share, 3)),
        },
    )


_CHECKS: dict[str, tuple[str, Callable[[Analysis], dg.AssetCheckResult]]] = {
    "bounce_rate": (
        (
            "Bounces stay below half of AWS's review line (5 %): ours over 7 days, and AWS's "
            "figure as estimated. WARN at half the line, ERROR at the line."
        ),
        lambda analysis: _rate(analysis, "bounce"),
    ),
    "complaint_rate": (
        (
            "Complaints stay below half of AWS's review line (0.1 %): ours over 7 days, and AWS's "
            "figure as estimated. WARN at half the line, ERROR at the line."
        ),
        lambda analysis: _rate(analysis, "complaint"),
    ),
    "incidents": (
        (
            "No source, domain, configuration set or subtype bounced, or complained, far more than "
            "usual within the last 28 days. ERROR while it goes on."
        ),
        _incidents,
    ),
    "unknown_kinds": (
        (
            "Nearly all events are of a kind that this version knows; a new kind of SES's is "
            "stored, but counts for nothing."
        ),
        _unknown_kinds,
    ),
}


# Together, because all of them look at the same analysis, which takes seconds to read and make
# where many domains are mailed.
@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(name, asset=daily_bounce_rates, description=said)
        for name, (said, _) in _CHECKS.items()
    ],
    can_subset=True,
)
def rate_checks(
    context: dg.AssetCheckExecutionContext, store: FeedbackStore
) -> Iterator[dg.AssetCheckResult]:
    """Judge the days up to the last one of the run."""
    analysis = analysis_of(context, store)
    for key in sorted(context.selected_asset_check_keys):
        yield _CHECKS[key.name][1](analysis)
