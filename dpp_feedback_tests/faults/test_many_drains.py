"""Many drains in one process, as a notebook has them: nothing piles up."""

from __future__ import annotations

import gc
import warnings
from contextlib import closing
from time import monotonic, sleep
from typing import TYPE_CHECKING

import psutil
import psycopg

from dpp_feedback_tests.faults.conftest import numbers

if TYPE_CHECKING:
    from dpp_feedback_tests.faults.conftest import Drain, Queues

_DRAINS = 30
_FIRST = 5  # by then all is loaded that is loaded late


def test_thirty_drains_leave_no_thread_file_or_connection_behind(
    queues: Queues, drain: Drain
) -> None:
    process = psutil.Process()
    held: list[tuple[int, int, int]] = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ResourceWarning)
        for seed in range(_DRAINS):
            queues.publish(10, seed=seed)
            assert numbers(drain(max_messages=10))["received"] == 10
            gc.collect()
            held.append((process.num_threads(), process.num_fds(), len(process.net_connections())))
    queues.assert_nothing_lost()
    for counted in zip(*held, strict=True):
        assert max(counted[_FIRST:]) <= max(counted[:_FIRST])
    assert [str(one.message) for one in warned] == []
    assert _no_connection_to(queues.database_url)


def _no_connection_to(database_url: str) -> bool:
    """Whether Postgres, too, has seen the last one end; it may take it a moment."""
    end = monotonic() + 10
    with closing(psycopg.connect(database_url, autocommit=True)) as database:
        while monotonic() < end:
            (left,) = database.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'dpp_feedback'"
            ).fetchone() or (0,)
            if not left:
                return True
            sleep(0.05)
    return False
