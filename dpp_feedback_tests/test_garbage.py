"""The garbage collector rests while a drain runs, and works again afterwards."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from dpp_feedback.garbage import collected_again, uncollected

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_searched_within_nor_later_what_was_there_by_then() -> None:
    gc.unfreeze()
    with uncollected():
        assert not gc.isenabled()
        cycle: list[object] = []
        cycle.append(cycle)
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    assert not any(found is cycle for found in gc.get_objects())
    collected_again()
    assert gc.get_freeze_count() == 0
    assert any(found is cycle for found in gc.get_objects())


def test_an_error_leaves_the_collector_at_work() -> None:
    with pytest.raises(ZeroDivisionError), uncollected():
        raise ZeroDivisionError
    assert gc.isenabled()


def test_whoever_has_switched_it_off_keeps_it_off() -> None:
    gc.unfreeze()
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()
    assert gc.get_freeze_count() == 0
