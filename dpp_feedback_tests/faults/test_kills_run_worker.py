"""What Kubernetes does to a run's pod, at moments that are exact: SIGKILL, SIGTERM."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import dagster as dg
import psycopg
import pytest

from dpp_feedback_tests.faults.run_worker import MOMENTS, RunWorker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from dpp_feedback_tests.faults.conftest import Drain, Queues

Status = dg.DagsterRunStatus


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
        yield instance


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("moment", MOMENTS)
def test_kill(queues: Queues, kept, drain_until_empty: Drain, moment: str, number) -> None:
    import time
    t0=time.time()
    queues.publish(300, poison=0.02, duplicates=0.05, ignored=0.01)
    worker = RunWorker(kept, queues.environment, moment)
    worker.wait_for_moment()
    t1=time.time()
    worker.send(number)
    worker.let_go()
    code = worker.wait_for_end()
    t2=time.time()
    c = queues.server.contents(queues.queue)
    print("XX", moment, number, code, worker.status.value, len(c.waiting), len(c.in_flight), len(c.deleted), queues.account().rows, round(t1-t0,1), round(t2-t1,1), round(time.time()-t2,1))
    t3=time.time()
    drain_until_empty()
    print("XXdrain", time.time()-t3)
    queues.assert_nothing_lost()
