"""Calls at the same time: none hides another, and none is waited for longer than allowed."""

from __future__ import annotations

from threading import Event

from dpp_feedback.concurrently import answers
from dpp_feedback.errors import FeedbackError


def test_each_call_answers_for_itself() -> None:
    ended = Event()

    def refuses() -> str:
        raise FeedbackError("It is closed.")

    def breaks() -> str:
        raise KeyError("someone@example.com")

    def hangs() -> str:
        ended.wait(60)
        return "late"

    came = answers({"a": lambda: "here", "b": refuses, "c": breaks, "d": hangs}, 0.5)
    ended.set()
    assert {name: str(said) for name, said in came.items()} == {
        "a": "here",
        "b": "It is closed.",
        "c": "c failed: KeyError.",
        "d": "d did not answer within 0.5 seconds.",
    }
    assert [isinstance(said, FeedbackError) for said in came.values()] == [False, True, True, True]


def test_calls_run_at_the_same_time() -> None:
    first, second = Event(), Event()

    def one() -> bool:
        first.set()
        return second.wait(30)

    def other() -> bool:
        second.set()
        return first.wait(30)

    assert answers({"one": one, "other": other}, 60) == {"one": True, "other": True}
