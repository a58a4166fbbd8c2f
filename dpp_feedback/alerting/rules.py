"""What is wrong, by one look at everything: the rules of the alerts. docs/runbook.md explains each.

One cause is one alert: what merely follows from another alert is held back while that one is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from dpp_feedback.alerting.alert import Alert, Severity, in_words
from dpp_feedback.alerting.checks import check_failed, told_by_incidents
from dpp_feedback.alerting.readings import MAIN_FAILING, MAIN_JOB, Queued, Unreadable

if TYPE_CHECKING:
    from datetime import datetime

    from dpp_feedback.alerting.memory import Memory
    from dpp_feedback.alerting.readings import JobRuns, Readings

TOO_OLD = timedelta(minutes=5)
# After failures the queue sensor pauses for up to a quarter of an hour: then nothing starts, and
# that is the failures' alert.
_LONGEST_BACK_OFF = timedelta(minutes=15)
_FAILURES_IN_A_ROW = 2  # of process_feedback, which is tried again by itself
# Run monitoring ends a run of process_feedback after 15 minutes. One that stands as started for
# longer has lost its process, where run monitoring is off.
_LONGEST_RUN = timedelta(minutes=20)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is wrong, and what cannot be told at this moment.

    Attributes:
        firing: what is wrong now; each key once.
        held: keys that neither begin nor end now.
    """

    firing: list[Alert]
    held: frozenset[str]


def judge(readings: Readings, memory: Memory) -> Judgement:
    """Apply all rules.

    Args:
        readings: one look.
        memory: what the looks before it left.
    """
    seen = memory.after(readings)
    failing = [alert for runs in readings.jobs if (alert := _runs_failing(runs, memory, seen))]
    checks = [alert for result in readings.checks.values() for alert in check_failed(result)]
    worker, dead = _worker_not_running(readings, seen.waiting_since), _dead_letters(readings)
    firing = [alert for alert in (worker, dead) if alert]
    known = {alert.key for alert in (*firing, *failing, *checks)} | memory.open.keys()
    held = told_by_incidents(checks, known)
    if isinstance(readings.queue, Unreadable):
        held |= {"worker_not_running", "oldest_message"}
    if not isinstance(readings.dead_letters, int):
        held.add("dlq_has_messages")
    if MAIN_FAILING in known:
        # What keeps process_feedback from working keeps other jobs from it too. Of those that
        # people were told of already they also want to hear the end.
        told = {MAIN_FAILING} | {alert.key for alert in failing if alert.told}
        held |= {"oldest_message", "queue_unreadable"}
        held |= {alert.key for alert in failing} - told
    if known & {"worker_not_running", "queue_unreadable"}:
        held.add("oldest_message")
    late = (
        _oldest_message(readings, seen.waiting_since),
        _queue_unreadable(readings, seen.unreadable_since),
    )
    firing += [alert for alert in (*failing, *checks, *late) if alert and alert.key not in held]
    return Judgement(firing, frozenset(held))


def _dead_letters(readings: Readings) -> Alert | None:
    number = readings.dead_letters
    if not isinstance(number, int) or number == 0:
        return None
    return Alert(
        "dlq_has_messages",
        Severity.CRITICAL,
        f"{_messages(number)} in the dead-letter queue: feedback that could not be stored.",
        _messages(number),
        "See in dlq_health, or with `dpp-feedback dlq list`, why they were rejected. Mend that, "
        "and launch the job reprocess_dlq, dry first, or move everything back with "
        '`dpp-feedback dlq redrive`: docs/runbook.md, section "Dead-letter queue".',
    )


def _worker_not_running(readings: Readings, waiting_since: datetime | None) -> Alert | None:
    queue = readings.queue
    waiting = _messages(queue.waiting) if isinstance(queue, Queued) else "an unknown number"
    if not readings.sensor_running:
        return Alert(
            "worker_not_running",
            Severity.CRITICAL,
            "feedback_queue_sensor is switched off: nothing takes messages from the queue.",
            f"{waiting} waiting",
            "Switch feedback_queue_sensor on: Dagster, Automation.",
        )
    runs = readings.main_job
    if isinstance(queue, Unreadable) or waiting_since is None:
        return None
    if runs.under_way_since and readings.at - runs.under_way_since <= _LONGEST_RUN:
        return None
    # Not `>=`: the time of waiting may begin with a run, the last one that succeeded.
    if runs.started_at and runs.started_at > waiting_since:
        return None
    idle_since = waiting_since
    if runs.failures and runs.failed_at:
        idle_since = max(idle_since, runs.failed_at + _LONGEST_BACK_OFF)
    if readings.at - idle_since <= TOO_OLD:
        return None
    return Alert(
        "worker_not_running",
        Severity.CRITICAL,
        f"Messages have been waiting for {in_words(readings.at - waiting_since)}, and no "
        "run of process_feedback has started.",
        f"{waiting} waiting",
        "Look at the ticks of feedback_queue_sensor, then at queued runs: a run that stays queued "
        "has no daemon, or no room for its pod.",
    )


def _runs_failing(runs: JobRuns, memory: Memory, seen: Memory) -> Alert | None:
    enough = _FAILURES_IN_A_ROW if runs.job == MAIN_JOB else 1
    key = f"runs_failing:{runs.job}"
    # People were told at once. If the next run has succeeded already, they are told of that too.
    told = runs.told or bool(runs.told_at and memory.looked_at and runs.told_at > memory.looked_at)
    if told or (key in memory.open and runs.failures):
        return run_failed(runs, told=told)
    if runs.failures < enough or failed_with_main(runs, seen):
        return None
    return run_failed(runs)


def failed_with_main(runs: JobRuns, memory: Memory) -> bool:
    """Tell whether a job failed while process_feedback did: until it has run again, no news."""
    until = memory.main_failing_until
    return bool(runs.job != MAIN_JOB and until and runs.failed_at and runs.failed_at <= until)


def run_failed(runs: JobRuns, *, told: bool = False) -> Alert:
    """Make the alert about a job whose last run failed."""
    often = f"{runs.failures} times in a row" if runs.failures > 1 else "once"
    return Alert(
        f"runs_failing:{runs.job}",
        Severity.CRITICAL,
        f"{runs.job} failed {often}. {runs.sentence}".strip(),
        f"{runs.failures} failed in a row, the last of them run {runs.run_id}",
        "Repair what the sentence names; process_feedback tries again by itself, other jobs at "
        "their next schedule or by hand.",
        told=told,
    )


def _oldest_message(readings: Readings, waiting_since: datetime | None) -> Alert | None:
    queue = readings.queue
    if isinstance(queue, Unreadable) or queue.waiting + queue.in_flight == 0:
        return None
    age, source = queue.age, "by CloudWatch"
    if age is None and waiting_since:
        age, source = (readings.at - waiting_since).total_seconds(), "estimated"
    if age is None or age <= TOO_OLD.total_seconds():
        return None
    return Alert(
        "oldest_message",
        Severity.WARNING,
        "The oldest message has been in the queue for "
        f"{in_words(timedelta(seconds=age))}, though the worker runs.",
        f"{age:.0f} s ({source}), {_messages(queue.waiting)} waiting",
        "If the number of waiting messages grows, raise SES_FEEDBACK_MAX_PARALLEL_RUNS; if it "
        "stays small, see the latest run for messages that are rejected again and again.",
    )


def _queue_unreadable(readings: Readings, since: datetime | None) -> Alert | None:
    if since is None or readings.at - since <= TOO_OLD:
        return None
    queue, dead = readings.queue, readings.dead_letters
    main = isinstance(queue, Unreadable)
    whys = [x.why for x in (queue, dead) if isinstance(x, Unreadable)]
    consequence = "no feedback is stored" if main else "nobody sees what lands in it"
    return Alert(
        "queue_unreadable",
        Severity.CRITICAL if main else Severity.WARNING,
        f"The {'queue' if main else 'dead-letter queue'} cannot be asked, so {consequence}. "
        + " ".join(dict.fromkeys(whys)),
        f"{in_words(readings.at - since)} without an answer",
        "Do what the sentence says; the role needs sqs:GetQueueAttributes on both queues.",
    )


def _messages(number: int) -> str:
    return f"{number:,} message{'' if number == 1 else 's'}"
