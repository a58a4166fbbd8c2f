"""What an op, a tick or a command that fails leaves behind quotes nothing it worked on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import dagster as dg
import pytest
from click.testing import CliRunner

from dpp_feedback.cli import main
from dpp_feedback.errors import FeedbackError, unforeseen
from dpp_feedback.plainly import told_plainly
from dpp_feedback.queue import Queue
from dpp_feedback.resources import FeedbackQueue
from dpp_feedback.sensors import feedback_queue_sensor

if TYPE_CHECKING:
    from pathlib import Path

WORD = "jane@example.com"


def _bug() -> NoReturn:
    nobody: dict[str, str] = {}
    try:
        nobody.pop(WORD)
    except KeyError as error:
        raise ValueError(f"cannot read {WORD}") from error
    raise AssertionError


@dg.op
def buggy() -> None:
    with told_plainly():
        _bug()


@dg.op
def careless() -> None:
    _bug()


@dg.op
def refusing() -> None:
    with told_plainly():
        raise FeedbackError("Set A_SETTING.")


def _stored(op: dg.OpDefinition) -> str:
    """Return all that Dagster stores of a run of one op."""

    @dg.job(executor_def=dg.in_process_executor)
    def of_one() -> None:
        op()

    with dg.DagsterInstance.ephemeral() as instance:
        result = of_one.execute_in_process(instance=instance, raise_on_error=False)
        assert not result.success
        return "\n".join(dg.serialize_value(entry) for entry in instance.all_logs(result.run_id))


def test_an_error_that_nobody_foresaw_is_stored_without_its_text_but_with_its_places() -> None:
    assert WORD in _stored(careless)
    stored = _stored(buggy)
    assert WORD not in stored
    assert "ValueError: an error that nobody foresaw." in stored
    assert "test_plainly.py" in stored
    assert "in _bug" in stored


def test_an_error_for_a_person_is_stored_as_its_sentence_alone() -> None:
    stored = _stored(refusing)
    assert "Set A_SETTING." in stored
    assert "test_plainly.py" not in stored


def test_a_sensor_that_fails_quotes_nothing(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment

    def depth(_: Queue) -> NoReturn:
        _bug()

    monkeypatch.setattr(Queue, "depth", depth)
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(dg.Failure, match="ValueError: an error that nobody foresaw") as failed,
    ):
        feedback_queue_sensor(
            dg.build_sensor_context(instance=instance, resources={"queue": FeedbackQueue()})
        )
    assert WORD not in str(failed.getrepr(showlocals=False, style="native"))


def test_a_command_that_fails_shows_where_and_quotes_nothing(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment
    monkeypatch.chdir(tmp_path)

    def depth(_: Queue) -> NoReturn:
        _bug()

    monkeypatch.setattr(Queue, "depth", depth)
    ended = CliRunner().invoke(main, ["dlq", "list"])
    assert ended.exit_code == 1
    assert isinstance(ended.exception, RuntimeError)
    assert str(ended.exception).startswith("ValueError: an error that nobody foresaw.")
    assert ended.exception.__suppress_context__


def test_a_module_that_is_missing_is_named() -> None:
    error = ModuleNotFoundError("No module named 'boto3'", name="boto3")
    assert "No module named 'boto3'" in unforeseen(error)
