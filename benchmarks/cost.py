"""What a month costs on AWS: computed from the requests and seconds that were measured.

Public list prices of ap-northeast-2 in US dollars, of November 2026; free tiers and discounts are
not taken off. Check them before you rely on them: https://aws.amazon.com/pricing/.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp
from typing import TYPE_CHECKING

from benchmarks import results
from benchmarks.results import Measurement, Table, rounded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.bench import Bench

SQS = 0.40  # a million requests, standard queue
SNS = 0.50  # a million publishes; deliveries to SQS are free
VCPU_HOUR = 0.04656  # Fargate, x86
GB_HOUR = 0.00511  # Fargate
LAMBDA = 0.20  # a million invocations
LAMBDA_GB_SECOND = 0.0000166667
STORAGE = 0.131  # a GB for a month, RDS gp3

HOURS = 720
MAILS = (1_000_000, 10_000_000, 100_000_000)

_TICK_SECONDS = 30  # of feedback_queue_sensor
_VCPU, _GB = 0.25, 0.87  # requested in k8s/base for daemon, code server and web server together
_RUN_GB = 0.5
_LAMBDA_MB, _LAMBDA_MB_A_VCPU = 256, 1_769
_LAMBDA_WAITS = 0.01  # seconds for the database, each message
_LAMBDA_POLLS_AN_HOUR = 5 * 180  # five pollers, 20 seconds a poll
_WORKER_VCPU, _WORKER_GB = 0.25, 0.5
_WORKER_POLLS_AN_HOUR = 180
_LOAD = 0.5  # a worker is not planned for more than half of what it can do


@dataclass(frozen=True, slots=True)
class Month:
    """What a way to do it costs in a month, in US dollars.

    Attributes:
        requests: to SQS.
        sqs: for these.
        compute: for what grows with the mails.
        standing: for what runs all the time.
    """

    requests: float
    sqs: float
    compute: float
    standing: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.sqs + self.compute + self.standing


def ours(mails: int, figures: Mapping[str, float]) -> Month:
    """A run whenever the sensor finds messages.

    Args:
        mails: in the month; each is one message.
        figures: those of `throughput`.
    """
    ticks = HOURS * 3600 / _TICK_SECONDS
    runs = ticks * (1 - exp(-mails / ticks))  # ticks that find something, if mails come at random
    requests = ticks + _line(figures, "requests", runs, mails)
    cpu_hours = _line(figures, "cpu_seconds", runs, mails) / 3600
    return Month(
        requests,
        requests / 1e6 * SQS,
        cpu_hours * (VCPU_HOUR + _RUN_GB * GB_HOUR),
        HOURS * (_VCPU * VCPU_HOUR + _GB * GB_HOUR),
    )


def lambda_each(mails: int, figures: Mapping[str, float]) -> Month:
    """A Lambda for each message: batch size 1, its connection kept."""
    requests = 2 * mails + _LAMBDA_POLLS_AN_HOUR * HOURS
    cpu = figures["tutorial_cpu_us_a_message"] / 1e6
    seconds = cpu * _LAMBDA_MB_A_VCPU / _LAMBDA_MB + _LAMBDA_WAITS
    gb_seconds = mails * seconds * _LAMBDA_MB / 1024
    compute = mails / 1e6 * LAMBDA + gb_seconds * LAMBDA_GB_SECOND
    return Month(requests, requests / 1e6 * SQS, compute, 0)


def worker(mails: int, figures: Mapping[str, float]) -> Month:
    """As many of the tutorial's workers as it takes, on the smallest Fargate task each."""
    possible = figures["tutorial_messages_a_second"] * _LOAD * HOURS * 3600
    workers = ceil(mails / possible)
    requests = (
        mails * figures["tutorial_requests_a_message"] + workers * _WORKER_POLLS_AN_HOUR * HOURS
    )
    standing = workers * HOURS * (_WORKER_VCPU * VCPU_HOUR + _WORKER_GB * GB_HOUR)
    return Month(requests, requests / 1e6 * SQS, 0, standing)


def _line(figures: Mapping[str, float], what: str, runs: float, mails: int) -> float:
    """Sum up over a month what a run costs: a part for each run, and a part for each message."""
    few, many = figures[f"few_{what}"], figures[f"many_{what}"]
    slope = (many - few) / (figures["many_messages"] - figures["few_messages"])
    return runs * (few - slope * figures["few_messages"]) + mails * slope


def measure(bench: Bench, *, quick: bool) -> Measurement:  # noqa: ARG001 - as of all measurements
    """Compute; `throughput` must be measured."""
    figures = results.read("throughput", bench.results).measurement.figures
    ways = {
        "process_feedback": ours,
        "a Lambda for each message": lambda_each,
        "long-polling workers (a)": worker,
    }
    rows: list[list[results.Cell]] = []
    for mails in MAILS:
        for name, way in ways.items():
            month = way(mails, figures)
            rows.append(
                [
                    mails,
                    name,
                    rounded(month.requests / 1e6),
                    *(
                        rounded(dollars, 2)
                        for dollars in (month.sqs, month.compute, month.standing, month.total)
                    ),
                ]
            )
    gb = [mails * figures["bytes_a_message"] / 1e9 for mails in MAILS]
    return Measurement(
        name="cost",
        title="What a month costs on AWS",
        how="Computed from the requests and processor seconds measured here, at public list prices "
        "of ap-northeast-2 in US dollars, without free tiers: list prices as of November 2026, "
        "check them before you rely on them. Each mail is one message, and they come evenly over "
        "the month. `process_feedback` starts a run at each look of the sensor that finds "
        "something, and its daemon, code server and web server stand all the time, as a share of a "
        "cluster that is there (what k8s/base requests); its runs are pods of that cluster too and "
        "count by the seconds of a processor that they use. A Lambda keeps its connection to the "
        "database between messages; a worker is planned for half of what it can do.",
        goals=[],
        tables=[
            Table(
                "US dollars a month",
                [
                    *("mails", "how", "SQS requests, millions"),
                    *("for SQS", "for computing", "for what stands", "together"),
                ],
                rows,
            ),
            Table(
                "And in each case",
                ["mails", "SNS publishes, $", "table and indexes, GB", "storing them, $ a month"],
                [
                    [
                        mails,
                        rounded(mails / 1e6 * SNS, 2),
                        rounded(size),
                        rounded(size * STORAGE, 2),
                    ]
                    for mails, size in zip(MAILS, gb, strict=True)
                ],
            ),
            Table(
                "Prices",
                ["what", "US dollars"],
                [
                    ["SQS, a million requests", SQS],
                    ["SNS, a million publishes (deliveries to SQS are free)", SNS],
                    ["Fargate, a vCPU for an hour", VCPU_HOUR],
                    ["Fargate, a GB for an hour", GB_HOUR],
                    ["Lambda, a million invocations", LAMBDA],
                    ["Lambda, a million GB seconds", rounded(LAMBDA_GB_SECOND * 1e6)],
                    ["RDS gp3, a GB for a month", STORAGE],
                ],
            ),
        ],
    )
