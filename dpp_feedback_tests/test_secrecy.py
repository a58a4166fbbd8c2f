"""A process that reads keys and bodies writes no core, and its libraries do not log them."""

from __future__ import annotations

import logging
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dpp_feedback.secrecy import keep_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_sqs import SQSClient

ROOT = str(Path(__file__).resolve().parents[1])
WORDS = ("a-body", "a-token", "DEBUG:botocore", "DEBUG:urllib3")
ABORTS = """
import os, sys
body = "a body with jane" + "@example.com"
if "keeps" in sys.argv[1]:
    from dpp_feedback.resources import FeedbackQueue
    FeedbackQueue().connect()
os.kill(os.getpid(), int(sys.argv[2]))
"""
LOGS = """
import logging, os, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
logging.getLogger("botocore.parsers").setLevel(logging.DEBUG)
if sys.argv[1] == "careless":
    import boto3
    client = boto3.client("sqs", region_name=os.environ["AWS_REGION"])
    client.receive_message(QueueUrl=os.environ["SQS_QUEUE_URL"], WaitTimeSeconds=1)
else:
    from dpp_feedback.resources import FeedbackQueue, FeedbackStore
    queue = FeedbackQueue().connect()
    assert queue.receive_batch(1, None)
    assert queue.receive(1, 5).messages
    with FeedbackStore().connect() as store:
        store.check()
print("done")
"""


def _unlimited() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def _aborts(how: str, number: signal.Signals, folder: Path, settings: Mapping[str, str]) -> int:
    """Run a process into a signal, where cores are allowed; return how it ended."""
    started = subprocess.Popen(
        [sys.executable, "-c", ABORTS, how, str(int(number))],
        cwd=folder,
        env={**os.environ, **settings, "PYTHONPATH": ROOT},
        preexec_fn=_unlimited,  # noqa: PLW1509 - it calls nothing but setrlimit
        stderr=subprocess.DEVNULL,
    )
    _, status = os.waitpid(started.pid, 0)
    started.returncode = -number  # or it would be waited for again
    assert os.WTERMSIG(status) == number
    return status


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
def test_a_process_that_dies_leaves_no_core(
    number: signal.Signals, tmp_path: Path, environment: dict[str, str]
) -> None:
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("cores are forbidden here")
    careless = _aborts("writes", number, tmp_path, environment)
    if not os.WCOREDUMP(careless):
        pytest.skip("this system writes no cores")
    for core in tmp_path.iterdir():
        core.unlink()
    status = _aborts("keeps", number, tmp_path, environment)
    assert not os.WCOREDUMP(status)
    assert list(tmp_path.iterdir()) == []


def _logged(how: str) -> str:
    """Return what a process prints, the log of its libraries from DEBUG on among it."""
    ended = subprocess.run(
        [sys.executable, "-c", LOGS, how],
        env={**os.environ, "AWS_SESSION_TOKEN": "a-token", "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.stdout.endswith("done\n"), ended.stderr
    return ended.stdout


@pytest.mark.usefixtures("database")
def test_a_library_logs_no_body_and_no_token_even_at_debug(
    environment: dict[str, str], sqs: SQSClient
) -> None:
    for _ in range(3):  # each receive finds one that is not in flight yet
        sqs.send_message(QueueUrl=environment["SQS_QUEUE_URL"], MessageBody="a-body-of-jane")
    assert {"a-body", "a-token"} <= {word for word in WORDS if word in _logged("careless")}
    said = _logged("product")
    assert not [word for word in WORDS if word in said]


def test_a_library_that_says_less_already_is_not_made_to_say_more() -> None:
    logger = logging.getLogger("botocore.endpoint")
    before = logger.level
    try:
        logger.setLevel(logging.ERROR)
        keep_secrets()
        assert logger.level == logging.ERROR
        logger.setLevel(logging.DEBUG)
        keep_secrets()
        assert logger.level == logging.WARNING
    finally:
        logger.setLevel(before)
