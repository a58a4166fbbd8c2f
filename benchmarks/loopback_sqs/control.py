"""Starts the loopback SQS, fills it, makes it fail, and asks it what became of each message."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import requests

from benchmarks.loopback_sqs.account import ID, REGION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.loopback_sqs.faults import Fault

_REPOSITORY = Path(__file__).resolve().parents[2]
_LOADED_AT_ONCE = 1_000


@dataclass(frozen=True)
class Stats:
    """What the server has done since it began, or since `reset_stats`.

    Attributes:
        requests: requests by action.
        faults: requests by the kind of fault that befell them.
        sent: messages that clients sent; those of `load` do not count.
        received: messages given to receivers, each time they were.
        deleted: receive handles that clients deleted.
        bytes_in: bytes of HTTP that the server read, those of this side among them.
        bytes_out: bytes of HTTP that it wrote, likewise.
    """

    requests: dict[str, int]
    faults: dict[str, int]
    sent: int
    received: int
    deleted: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True)
class Contents:
    """What became of a queue's messages: by message id, how often each was received.

    Attributes:
        waiting: can be received.
        delayed: have not shown yet.
        in_flight: received, and not deleted.
        deleted: deleted by a receiver.
        expired: kept until the retention period was over.
    """

    waiting: dict[str, int]
    delayed: dict[str, int]
    in_flight: dict[str, int]
    deleted: dict[str, int]
    expired: dict[str, int]


class Control:
    """The control side of a server that runs.

    Args:
        url: the endpoint, for AWS_ENDPOINT_URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy is asked for loopback

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    @property
    def now(self) -> float:
        """Seconds since 1970 by the server's clock."""
        return float(self._call("now"))

    def create(
        self,
        name: str,
        *,
        visibility_timeout: int = 30,
        dead_letter: str | None = None,
        max_receive_count: int = 5,
    ) -> str:
        """Create a queue.

        Args:
            name: its name.
            visibility_timeout: in seconds.
            dead_letter: the name of its dead-letter queue, which exists.
            max_receive_count: receives after which a message goes there.

        Returns:
            Its URL.
        """
        return str(
            self._call(
                "create",
                name=name,
                visibility_timeout=visibility_timeout,
                dead_letter=dead_letter,
                max_receive_count=max_receive_count,
            )
        )

    def load(self, name: str, bodies: Iterable[str]) -> list[str]:
        """Put bodies into a queue, those too that SQS would refuse; no faults, no counts.

        Returns:
            Their message ids, in order.
        """
        left, ids = iter(bodies), []
        while some := list(islice(left, _LOADED_AT_ONCE)):
            ids += self._call("load", name=name, bodies=some)
        return ids

    def latency(self, ms: float) -> None:
        """Hold back each answer by so many milliseconds."""
        self._call("latency", ms=ms)

    def faults(self, faults: Sequence[Fault]) -> None:
        """Let these happen from now on, the first that fits, and no others; []: none."""
        self._call("faults", faults=[asdict(fault) for fault in faults])

    def short_receives(self, seed: int | None) -> None:
        """Give fewer messages than there are, at random, as SQS may; None: no longer."""
        self._call("short_receives", seed=seed)

    def tick(self, seconds: float) -> None:
        """Move the server's clock ahead: for visibility, delays, retention and move tasks."""
        self._call("tick", seconds=seconds)

    def stats(self) -> Stats:
        """Ask what the server has done."""
        return Stats(**self._call("stats"))

    def reset_stats(self) -> None:
        """Let it count from 0 again."""
        self._call("reset_stats")

    def contents(self, name: str) -> Contents:
        """Ask what became of a queue's messages. Those redriven are in the other queue."""
        return Contents(**self._call("contents", name=name))

    def environment(self, queue_name: str, dlq_name: str) -> dict[str, str]:
        """Give the variables under which boto3 and the product use these two queues."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "SQS_QUEUE_URL": f"{self.url}/{ID}/{queue_name}",
            "SQS_DLQ_URL": f"{self.url}/{ID}/{dlq_name}",
        }

    def _call(self, path: str, **arguments: Any) -> Any:
        response = self._session.post(f"{self.url}/_control/{path}", json=arguments, timeout=60)
        if not response.ok:
            raise ValueError(f"The loopback SQS refused {path}: {response.json()}")
        return response.json()


class LoopbackSqs(Control):
    """An SQS in a process of its own: `with LoopbackSqs() as sqs`. It ends when this process does.

    Attributes:
        url: the endpoint, for AWS_ENDPOINT_URL.
        pid: the server's process.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.loopback_sqs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_REPOSITORY,
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        line = self._process.stdout.readline()
        if not line:
            self._process.communicate()
            raise RuntimeError("The loopback SQS did not start: its error output says why.")
        super().__init__(json.loads(line)["url"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server."""
        super().close()
        self._process.terminate()
        self._process.communicate()
