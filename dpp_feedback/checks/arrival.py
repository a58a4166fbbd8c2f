"""Checks of whether feedback arrives: all of it, from all senders, and from the present."""

# No `from __future__ import annotations`: Dagster reads the annotations of checks at run time.

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from dpp_feedback.assets.rollups import daily_bounce_rates
from dpp_feedback.checks.looking_back import closed_day
from dpp_feedback.errors import FeedbackError
from dpp_feedback.feedback.counts import Count
from dpp_feedback.feedback.estimate import by_day
from dpp_feedback.feedback.rates import Tally
from dpp_feedback.feedback.reconciliation import reconcile
from dpp_feedback.feedback.silence import Window, listen, mails_sent, outcomes
from dpp_feedback.ingest import ses_feedback_events
from dpp_feedback.plainly import told_plainly
from dpp_feedback.resources import FeedbackStore, SesAccount

_WARN, _ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
_COMPARED = 7  # days: what was lost before stays lost, and must not hide what is lost now
_SKEW = timedelta(minutes=5)  # by which the clocks of SES and of this machine may differ
_RECENT = (timedelta(hours=6), timedelta(hours=1))  # what is younger may still be on its way


@dg.asset_check(
    asset=daily_bounce_rates,
    description="What arrived here is what SES has counted itself, by GetSendStatistics and, for "
    "older days, CloudWatch; a shortfall over 5 % is feedback that gets lost on the way.",
)
def reconciliation(
    context: dg.AssetCheckExecutionContext, store: FeedbackStore, ses: SesAccount
) -> dg.AssetCheckResult:
    """Compare the days with SES's own numbers."""
    now = datetime.now(UTC)
    last = closed_day(context.run.tags, now)
    first = last - timedelta(days=_COMPARED - 1)
    with told_plainly(), store.connect() as database:
        ours = by_day(database.daily_counts.totals(first, last))
        began = database.first_event_at()
    try:
        account = ses.connect()
        theirs = account.send_statistics()
    except FeedbackError as error:
        return dg.AssetCheckResult(
            passed=False,
            severity=_WARN,
            description=f"Nothing could be compared: {error}",
            metadata={"as_of": dg.MetadataValue.text(last.isoformat())},
        )
    older = ""
    try:
        theirs = account.metrics(first, last) | theirs
    except FeedbackError as error:
        older = (
            f" CloudWatch, which also knows days older than two weeks, could not be asked: {error}"
        )
    # What was sent before feedback was wired is not lost; of the first day there is only a part.
    wired = began.date() if began else last + timedelta(days=1)
    if wired - timedelta(days=1) in theirs:
        wired += timedelta(days=1)
    theirs = {day: sent for day, sent in theirs.items() if max(first, wired) <= day <= last}
    compared = reconcile(ours, theirs, now)
    gaps = [
        f"{gap.day}: {gap.ours:,} {gap.what} here, {gap.theirs:,} at SES" for gap in compared.gaps
    ]
    if gaps:
        said = f"Feedback gets lost before it reaches us. {'; '.join(gaps[:5])}."
        said += f" And {len(gaps) - 5} more." if len(gaps) > 5 else ""
        said += " Look for an identity or configuration set that is not wired to the topics."
    elif compared.days:
        said = (
            f"{len(compared.days)} days agree with what SES counts, {compared.days[0]} to "
            f"{compared.days[-1]}."
        )
    else:
        said = "There are no whole days yet that both SES and we have counted: nothing to compare."
    return dg.AssetCheckResult(
        passed=not gaps,
        severity=_WARN,
        description=said + older,
        metadata={
            "days_compared": dg.MetadataValue.int(len(compared.days)),
            "gaps": dg.MetadataValue.int(len(gaps)),
            "as_of": dg.MetadataValue.text(last.isoformat()),
            "largest_gap_percent": dg.MetadataValue.float(
                round(100 * max((gap.share for gap in compared.gaps), default=0.0), 2)
            ),
        },
    )


@dg.asset_check(
    asset=ses_feedback_events,
    description="Where mail is sent, its outcome arrives: yesterday, and in the last hours. "
    "Nothing else notices feedback that is wired but mute.",
)
def silence(store: FeedbackStore, ses: SesAccount) -> dg.AssetCheckResult:
    """Compare what was sent with what came back."""
    now = datetime.now(UTC)
    yesterday = now.date() - timedelta(days=1)
    since, until = now - _RECENT[0], now - _RECENT[1]
    unheard = ""
    attempts: dict[date, int] = {}
    recent_attempts = 0
    try:
        account = ses.connect()
        attempts = {day: sent.attempts for day, sent in account.send_statistics().items()}
        recent_attempts = account.attempts(since, until)
    except FeedbackError as error:
        unheard = f" SES's own numbers could not be read: {error}"
    with told_plainly(), store.connect() as database:
        totals = database.daily_counts.totals(yesterday - timedelta(days=7), yesterday)
        kinds = database.kinds_between(since, until)
        began = database.first_event_at()
    if began and began.date() > yesterday:  # what SES sent before feedback was wired is not lost
        attempts = {}
    if began and began > since:
        recent_attempts = 0
    recent = Tally.of(
        Count(day=now.date(), notification_type=kind, count=n) for kind, n in kinds.items()
    )
    closed = Tally.of(count for count in totals if count.day == yesterday)
    finding = listen(
        [
            Window("yesterday", mails_sent(closed, attempts, yesterday), outcomes(closed)),
            Window("in the last hours", max(recent.sends, recent_attempts), outcomes(recent)),
        ],
        totals,
        yesterday,
    )
    what_to_do = (
        " Send a mail to bounce@simulator.amazonses.com, and follow it: SES's notifications, the "
        "SNS topic, its subscription, the queue."
    )
    return dg.AssetCheckResult(
        passed=not finding.silent,
        severity=_ERROR if finding.sure else _WARN,
        description=finding.sentence + (what_to_do if finding.silent else "") + unheard,
        metadata={
            "outcomes_yesterday": dg.MetadataValue.int(outcomes(closed)),
            "outcomes_in_the_last_hours": dg.MetadataValue.int(outcomes(recent)),
        },
    )


@dg.asset_check(
    asset=ses_feedback_events,
    description="No event claims to happen later than now: a clock is wrong, or the event is "
    "forged. It counts on the day that it names, which no report covers yet.",
)
def events_from_the_future(store: FeedbackStore) -> dg.AssetCheckResult:
    """Count events whose time has not come."""
    with told_plainly(), store.connect() as database:
        number = database.events_after(datetime.now(UTC) + _SKEW)
    said = "No event is from the future."
    if number:
        said = (
            f"{number:,} events are from the future. See who sent them: rows of "
            "public.ses_feedback_events whose event_at is later than now()."
        )
    return dg.AssetCheckResult(
        passed=number == 0,
        severity=_WARN,
        description=said,
        metadata={"events": dg.MetadataValue.int(number)},
    )


HOURLY_CHECKS = [silence, events_from_the_future]
