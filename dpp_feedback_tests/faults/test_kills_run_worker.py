"""A run's process is killed, or told to end, at moments that are exact.

SIGKILL is also what the kernel sends when memory runs out. SIGTERM is what Kubernetes sends before
a pod goes.
"""

from __future__ import annotations

import signal
from contextlib import closing
from time import monotonic, sleep
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg
import psycopg
import pytest

from dpp_feedback_tests.faults.run_worker import MOMENTS, SECONDS, RunWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dpp_feedback_tests.faults.conftest import Drain, Queues

Status = dg.DagsterRunStatus
MESSAGES = 300
_REJECTING = ("before recording rejects", "before handing back")


class Left(NamedTuple):
    """What a dead run leaves behind.

    Attributes:
        rows: which of the events are in the table: none, some or all.
        killed: where the messages are after SIGKILL.
        told: where they are after SIGTERM.
        status: of the run after SIGTERM.
    """

    rows: str
    killed: set[str]
    told: set[str]
    status: Status = Status.FAILURE


LEFT = {
    "before receiving": Left("none", {"waiting"}, {"waiting"}),
    "while receiving": Left("none", {"waiting", "in flight"}, {"waiting"}),
    "after receiving": Left("none", {"in flight"}, {"in flight"}),
    "while parsing": Left("none", {"in flight"}, {"in flight"}),
    "after parsing": Left("none", {"in flight"}, {"in flight"}),
    "between two batches": Left("some", {"in flight"}, {"in flight"}),
    "before recording rejects": Left("all", {"in flight"}, {"in flight"}),
    "after persisting": Left("all", {"in flight"}, {"in flight"}),
    "while acknowledging": Left("all", {"in flight", "gone"}, {"gone"}),
    "before handing back": Left("all", {"in flight", "gone"}, {"in flight", "gone"}),
    "after acknowledging": Left("all", {"gone"}, {"gone"}),
    "before success": Left("all", {"gone"}, {"gone"}, Status.SUCCESS),
}


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """Storage on disk, for all runs that die here."""
    folder = tmp_path_factory.mktemp("dagster")
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        yield instance


@pytest.fixture
def stopped(queues: Queues, dagster: dg.DagsterInstance) -> Callable[[str], RunWorker]:
    """Publishes, and begins a run that stops at a moment."""

    def start(moment: str) -> RunWorker:
        poison = 0.01 if moment in _REJECTING else 0.0
        queues.publish(MESSAGES, duplicates=0.05, ignored=0.01, poison=poison)
        # No more than there are: so it does not wait for further ones.
        number = len(queues.published)
        worker = RunWorker(dagster, queues.environment, moment, max_messages=number)
        worker.wait_for_moment()
        return worker

    return start


def _places(queues: Queues) -> set[str]:
    found = queues.server.contents(queues.queue)
    places = {"waiting": found.waiting, "in flight": found.in_flight, "gone": found.deleted}
    return {name for name, messages in places.items() if messages}


def _rows(queues: Queues) -> str:
    found = queues.account().rows
    if found == len(queues.published.keys):
        return "all"
    return "some" if found else "none"


def _recover(queues: Queues, drain: Drain) -> None:
    """Let the next runs take what comes back, until there is nothing; then count."""
    queues.tick()
    while waiting := len(queues.server.contents(queues.queue).waiting):
        assert drain(max_messages=waiting).success
    queues.assert_nothing_lost()


def test_every_moment_is_tried() -> None:
    assert LEFT.keys() == MOMENTS.keys()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_is_killed_loses_and_doubles_nothing(
    moment: str, stopped: Callable[[str], RunWorker], queues: Queues, drain: Drain
) -> None:
    worker = stopped(moment)
    worker.send(signal.SIGKILL)
    assert worker.wait_for_end() == -signal.SIGKILL
    assert worker.run.status is Status.STARTED, "run monitoring finds it"
    assert _rows(queues) == LEFT[moment].rows
    assert _places(queues) == LEFT[moment].killed
    _recover(queues, drain)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_is_told_to_end_does_so_and_loses_and_doubles_nothing(
    moment: str, stopped: Callable[[str], RunWorker], queues: Queues, drain: Drain
) -> None:
    worker = stopped(moment)
    worker.send(signal.SIGTERM)
    worker.let_go()
    assert worker.wait_for_end() == 0
    assert worker.run.status is LEFT[moment].status
    assert _rows(queues) == LEFT[moment].rows
    assert _places(queues) == LEFT[moment].told
    _recover(queues, drain)


def test_a_run_that_somebody_terminates_in_dagster_is_canceled_and_hands_back(
    stopped: Callable[[str], RunWorker],
    dagster: dg.DagsterInstance,
    queues: Queues,
    drain: Drain,
) -> None:
    worker = stopped("while receiving")
    dagster.report_run_canceling(worker.run)
    worker.send(signal.SIGINT)
    worker.let_go()
    assert worker.wait_for_end() == 0
    assert worker.run.status is Status.CANCELED
    assert _places(queues) == {"waiting"}
    _recover(queues, drain)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_statement_under_way_is_taken_back_when_its_run_ends(
    number: signal.Signals,
    stopped: Callable[[str], RunWorker],
    queues: Queues,
    drain: Drain,
) -> None:
    worker = stopped("between two batches")
    before = queues.account().rows
    with closing(psycopg.connect(queues.database_url, autocommit=True)) as watching:

        def inserting() -> list[str | None]:
            found = watching.execute(
                "SELECT wait_event_type FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'dpp_feedback'"
            )
            return [waits_for for (waits_for,) in found]

        with psycopg.connect(queues.database_url) as holding:
            holding.execute("LOCK TABLE public.ses_feedback_events IN SHARE MODE")
            worker.let_go()
            _wait("the insert to wait for the lock", lambda: inserting() == ["Lock"])
            worker.send(number)
            worker.wait_for_end()
        _wait("its connection to end", lambda: inserting() == [])
    assert queues.account().rows == before
    _recover(queues, drain)


def test_a_message_may_be_in_four_runs_that_are_killed(
    dagster: dg.DagsterInstance, queues: Queues, drain: Drain
) -> None:
    queues.publish(20)
    for _ in range(4):  # the fifth receive is the last
        worker = RunWorker(dagster, queues.environment, "after persisting", max_messages=20)
        worker.wait_for_moment()
        worker.send(signal.SIGKILL)
        worker.wait_for_end()
        queues.tick()
    _recover(queues, drain)


def _wait(what: str, arrived: Callable[[], bool]) -> None:
    end = monotonic() + SECONDS
    while not arrived():
        assert monotonic() < end, f"waited {SECONDS} s for {what}"
        sleep(0.05)
