"""The service: carries out requests, long polls among them, and counts. It knows no sockets.

It runs in one event loop, so that no two requests change a queue at the same time.
"""

from __future__ import annotations

import json
import time
import traceback
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.loopback_sqs import protocol, receives
from benchmarks.loopback_sqs.account import ID, Account
from benchmarks.loopback_sqs.actions import ACTIONS, Api
from benchmarks.loopback_sqs.errors import SqsError, unknown_action
from benchmarks.loopback_sqs.faults import Armed, Fault, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from benchmarks.loopback_sqs.protocol import Answer
    from benchmarks.loopback_sqs.reading import Request
    from benchmarks.loopback_sqs.receives import Receive

    Send = Callable[[Answer], None]
    IsOpen = Callable[[], bool]


class _Poll(NamedTuple):
    receive: Receive
    until: float  # of the monotonic clock: the control side does not move it
    twice: bool
    send: Send
    is_open: IsOpen


class Service:
    """SQS without its sockets.

    Args:
        url: the endpoint's URL.

    Attributes:
        account: its queues.
        latency: seconds that each answer is held back.
        ahead: seconds that its clock is ahead of the machine's.
        short: lets receives give fewer messages than there are; None: as many as there are.
        requests: requests by action.
        befallen: requests by the kind of fault that befell them.
        received: messages given to receivers.
        bytes_in: bytes of HTTP read.
        bytes_out: bytes of HTTP written.
    """

    def __init__(self, url: str) -> None:
        self.account = Account()
        self.api = Api(self.account, f"{url}/{ID}")
        self.latency = self.ahead = 0.0
        self.short: Random | None = None
        self._faults: list[Armed] = []
        self._polls: deque[_Poll] = deque()
        self.forget_counts()

    def forget_counts(self) -> None:
        """Count from 0 again."""
        self.requests: Counter[str] = Counter()
        self.befallen: Counter[str] = Counter()
        self.received = self.bytes_in = self.bytes_out = 0
        self.api.sent = self.api.deleted = 0

    def now(self) -> float:
        """Seconds since 1970 by the service's own clock."""
        return time.time() + self.ahead

    def arm(self, faults: Iterable[Fault]) -> None:
        """Let these faults happen from now on, and no others."""
        self._faults = [Armed(fault) for fault in faults]

    def fault_of(self, action: str) -> Armed | None:
        """Count a request, and decide what goes wrong with it."""
        self.requests[action] += 1
        found = choose(self._faults, action) if self._faults else None
        if found is not None:
            self.befallen[found.fault.kind] += 1
        return found

    def carry_out(
        self, action: str, body: bytes, send: Send, is_open: IsOpen, armed: Armed | None = None
    ) -> None:
        """Carry out a request, and answer: at once, or when its long poll ends.

        Args:
            action: SQS's name of it.
            body: the request's body.
            send: takes the answer.
            is_open: tells whether the client is still there.
            armed: a fault that is part of the action: `partial` or `duplicate`.
        """
        kind = armed.fault.kind if armed is not None else None
        try:
            if action == "ReceiveMessage":
                self._receive(receives.read(body), send, is_open, twice=kind == "duplicate")
                return
            if armed is not None and kind == "partial":
                send(self._carry_out_partly(action, body, armed))
            else:
                send(protocol.said(self._act(action, json.loads(body))))
        except SqsError as error:
            send(protocol.refused(error))
        except ValueError:
            send(protocol.not_json())
        except Exception:  # a mistake of this server: it says where, and does not hang the client
            traceback.print_exc()
            send(protocol.failed())
        if self._polls:
            self.serve_polls()

    def serve_polls(self) -> None:
        """Let time pass: move tasks move, and long polls end that have a message, or waited."""
        self.account.move(self.now())
        for _ in range(len(self._polls)):
            poll = self._polls.popleft()
            if not poll.is_open():
                continue  # nobody would get the messages
            is_over = time.monotonic() >= poll.until
            try:
                if not self._give(poll.receive, poll.send, twice=poll.twice, anyway=is_over):
                    self._polls.append(poll)
            except SqsError as error:
                poll.send(protocol.refused(error))

    def _receive(self, receive: Receive, send: Send, is_open: IsOpen, *, twice: bool) -> None:
        wait = receives.wait_of(self.account.queue(receive.name), receive)
        if not self._give(receive, send, twice=twice, anyway=wait == 0):
            self._polls.append(_Poll(receive, time.monotonic() + wait, twice, send, is_open))

    def _give(self, receive: Receive, send: Send, *, twice: bool, anyway: bool) -> bool:
        queue = self.account.queue(receive.name)
        messages = receives.take(queue, receive, self.now(), self.short, twice=twice)
        if not messages and not anyway:
            return False
        self.received += len(messages)
        send(protocol.Answer(receives.answer(messages, receive.attributes)))
        return True

    def _act(self, action: str, request: Request) -> dict[str, Any]:
        if action not in ACTIONS:
            raise unknown_action()
        return ACTIONS[action](self.api, request, self.now())

    def _carry_out_partly(self, action: str, body: bytes, armed: Armed) -> Answer:
        rest, failed = protocol.without_failing(body, armed)
        request = json.loads(rest)
        done = self._act(action, request) if request["Entries"] else {}
        both = [*done.get("Failed", []), *failed]
        return protocol.said(done | ({"Failed": both} if both else {}))
