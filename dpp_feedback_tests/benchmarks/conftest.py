"""The bench of the benchmarks, one for all tests: its Postgres and its SQS are the real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench.started(tmp_path_factory.mktemp("results")) as bench:
        yield bench
