"""What was measured at each latency, of the product and of the baselines, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.loopback_sqs.ceiling import Ceiling
from benchmarks.results import Cell, Goal, Number, Plot, Table, rounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.baselines.running import Cost
    from benchmarks.drain import Drain

OURS = "process_feedback"
TUTORIAL = "(a) tutorial's worker"
CONSUMER = "(b) aws-sqs-consumer"
CONSUMERS = "(b) the same in 10 threads of ours"
QUEUE = "(c) boto3 alone, no database"
POSTGRES = "(d) Postgres alone"

MESSAGES = 10_000  # what a run takes, unless it is told otherwise
GOAL_AT = 10  # ms


@dataclass(frozen=True, slots=True)
class At:
    """What was measured at one latency.

    Attributes:
        latency_ms: the latency.
        ours: every run.
        others: by name.
        ceiling: what the endpoint can answer.
    """

    latency_ms: int
    ours: list[Drain]
    others: dict[str, Cost]
    ceiling: Ceiling

    @property
    def typical(self) -> Drain:
        """The median run; of two the slower."""
        return sorted(self.ours, key=lambda drain: drain.seconds, reverse=True)[
            (len(self.ours) - 1) // 2
        ]

    @property
    def asked(self) -> Ceiling:
        """Requests a second that the fastest run made, in the ops that make them."""
        fastest = min(self.ours, key=lambda drain: drain.seconds)
        requests, steps = fastest.requests, fastest.steps
        return Ceiling(
            requests["ReceiveMessage"] / steps["receive"],
            requests["DeleteMessageBatch"] / steps["acknowledge"],
        )

    @property
    def room(self) -> float:
        """How many times what is asked the endpoint can answer, of the kind that has less room."""
        return min(
            self.ceiling.receives / self.asked.receives, self.ceiling.deletes / self.asked.deletes
        )


def goals(found: list[At]) -> list[Goal]:
    """Hold what was measured against the goals."""
    at = {one.latency_ms: one for one in found}
    goal, none = at[GOAL_AT], at[0]
    ours, others = goal.typical, goal.others
    requests = sum(ours.requests.values()) / ours.messages * 1_000
    floor = others[QUEUE]

    def against(name: str, limit: int) -> Goal:
        ratio = rounded(ours.rate / others[name].rate)
        return Goal(f"times as fast as {name}, at {GOAL_AT} ms", ratio, "", limit, True)

    where = f"{MESSAGES:,} messages, {GOAL_AT} ms"
    return [
        Goal(f"messages a second, {where}", rounded(ours.rate), "messages/s", 6_500, True),
        against(TUTORIAL, 80),
        against(CONSUMER, 15),
        Goal(
            "share of the rate of (c), at 0 ms",
            rounded(none.typical.rate / none.others[QUEUE].rate),
            "",
            0.75,
            True,
        ),
        Goal(f"CPU a message, {where}", rounded(ours.cpu_us), "µs", 130, False),
        Goal(
            f"CPU a message against (c), at {GOAL_AT} ms",
            rounded(ours.cpu_us / floor.cpu_us),
            "times",
            1.25,
            False,
        ),
        Goal(f"AWS requests for 1,000 messages, {where}", rounded(requests), "", 220, False),
        Goal(
            "what the endpoint can answer against what is asked of it",
            rounded(min(one.room for one in found)),
            "times",
            3,
            True,
        ),
    ]


def tables(found: list[At], floor: Cost) -> list[Table]:
    """Write the tables; `floor` is Postgres alone, which knows no latency."""
    latencies = [f"{at.latency_ms} ms" for at in found]

    def across(name: str, cell: Callable[[Drain | Cost], Cell]) -> list[Cell]:
        return [name, *(cell(at.typical if name == OURS else at.others[name]) for at in found)]

    def table(title: str, cell: Callable[[Drain | Cost], Cell], last: Cell | None) -> Table:
        rows = [across(name, cell) for name in (OURS, TUTORIAL, CONSUMER, CONSUMERS, QUEUE)]
        if last is not None:
            rows.append([POSTGRES, *[last] * len(found)])
        return Table(title, ["", *latencies], rows)

    return [
        table("Messages a second", lambda one: rounded(one.rate), rounded(floor.rate)),
        table(
            "Microseconds of a processor for each message",
            lambda one: rounded(one.cpu_us),
            rounded(floor.cpu_us),
        ),
        table(
            "Requests to AWS for 1,000 messages",
            lambda one: rounded(per_message(one) * 1_000),
            None,
        ),
        table("Messages that each had to drain", lambda one: one.messages, floor.messages),
        Table(
            f"Every run of {OURS}",
            [
                "latency",
                "messages/s",
                "seconds",
                "CPU seconds",
                *("receive", "parse", "persist", "acknowledge"),
                "peak MB",
                "CPU seconds of the process",
            ],
            [
                [
                    f"{at.latency_ms} ms",
                    rounded(one.rate),
                    rounded(one.seconds),
                    rounded(one.cpu_seconds),
                    *(rounded(one.steps[step]) for step in one.steps),
                    rounded(one.peak_mb),
                    rounded(one.process_cpu_seconds),
                ]
                for at in found
                for one in at.ours
            ],
        ),
        Table(
            "The endpoint's ceiling, in requests a second",
            [
                *("latency", "receives of ten", "asked of it"),
                *("deletes of ten", "asked of it", "times what is asked"),
            ],
            [
                [
                    f"{at.latency_ms} ms",
                    rounded(at.ceiling.receives),
                    rounded(at.asked.receives),
                    rounded(at.ceiling.deletes),
                    rounded(at.asked.deletes),
                    rounded(at.room),
                ]
                for at in found
            ],
        ),
    ]


def plot(found: list[At]) -> Plot:
    """Draw the rates, without that of Postgres alone, which would dwarf the others."""
    series: dict[str, list[tuple[Cell, Number]]] = {}
    for at in found:
        rates = {OURS: at.typical.rate} | {name: cost.rate for name, cost in at.others.items()}
        series[f"{at.latency_ms} ms"] = [(name, rounded(rate)) for name, rate in rates.items()]
    return Plot("throughput", "Messages a second", "messages/s", "", "bars", series)


def binds(found: list[At]) -> str:
    """Say whether the process waits or computes: the run's own CPU time tells."""
    if all(goal.met for goal in goals(found)):
        return ""
    said = []
    for at in found:
        one = at.typical
        slowest = max(one.steps, key=lambda step: one.steps[step])
        said.append(
            f"At {at.latency_ms} ms the process used its processor for "
            f"{rounded(one.cpu_seconds)} of {rounded(one.seconds)} seconds, and {slowest} took "
            f"{rounded(one.steps[slowest])} of them; what no op took, "
            f"{rounded(one.seconds - sum(one.steps.values()))}, is the same for any number of "
            "messages."
        )
    return (
        f"{' '.join(said)} That is Dagster's record of the run, imports and connecting; so larger "
        "runs are faster, as the table of their memory shows."
    )


def per_message(one: Drain | Cost) -> float:
    """Return requests for each message."""
    return sum(one.requests.values()) / one.messages
