"""SQS refuses, hangs, breaks off, or answers what nobody can read: nothing is lost or twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.loopback_sqs.faults import Fault
from dpp_feedback_tests.faults.conftest import numbers

if TYPE_CHECKING:
    from benchmarks.loopback_sqs.faults import Kind
    from dpp_feedback_tests.faults.conftest import Drain, Queues

def test_smoke(queues: Queues, drain_until_empty: Drain, drain: Drain) -> None:
    queues.publish(300, poison=0.02, duplicates=0.05, ignored=0.01, bodies=["{}"])
    assert numbers(drain())["stored"] == 275
    drain_until_empty()
    found = queues.assert_nothing_lost()
    assert (found.published, found.stored, found.duplicates, found.ignored, found.dead) == (301, 275, 15, 4, 7)
