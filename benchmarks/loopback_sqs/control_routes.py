"""The control side over HTTP, under /_control on the same port: what control.py calls."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.loopback_sqs import protocol
from benchmarks.loopback_sqs.errors import SqsError
from benchmarks.loopback_sqs.faults import Fault
from benchmarks.loopback_sqs.messages import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.loopback_sqs.protocol import Answer
    from benchmarks.loopback_sqs.service import Service

PREFIX = b"/_control/"


def answer(service: Service, path: bytes, body: bytes) -> Answer:
    """Do what the path names, with the arguments of the body, a JSON object."""
    act = _ROUTES.get(path.removeprefix(PREFIX).decode("latin-1"))
    if act is None:
        return protocol.Answer(b'"no such path"', 404)
    try:
        return protocol.said(act(service, **json.loads(body or b"{}")))
    except (SqsError, TypeError, ValueError) as error:
        return protocol.Answer(json.dumps(str(error)).encode(), 400)


def _create(
    service: Service,
    name: str,
    visibility_timeout: int,
    dead_letter: str | None,
    max_receive_count: int,
) -> str:
    attributes = {"VisibilityTimeout": str(visibility_timeout)}
    if dead_letter is not None:
        target = service.account.queue(dead_letter)
        attributes["RedrivePolicy"] = json.dumps(
            {"deadLetterTargetArn": target.arn, "maxReceiveCount": str(max_receive_count)}
        )
    return service.api.url_of(service.account.create(name, attributes, service.now()).name)


def _load(service: Service, name: str, bodies: list[str]) -> list[str]:
    queue, now = service.account.queue(name), service.now()
    ids = []
    for body in bodies:
        message = service.account.message(body, now)
        queue.add(message, now)
        ids.append(message.id)
    service.serve_polls()
    return ids


def _latency(service: Service, ms: float) -> None:
    service.latency = ms / 1000


def _faults(service: Service, faults: list[dict[str, Any]]) -> None:
    service.arm([Fault(**fault) for fault in faults])


def _short_receives(service: Service, seed: int | None) -> None:
    service.short = None if seed is None else Random(seed)  # noqa: S311 - nothing secret


def _tick(service: Service, seconds: float) -> None:
    service.ahead += seconds
    service.serve_polls()


def _now(service: Service) -> float:
    return service.now()


def _stats(service: Service) -> dict[str, Any]:
    return {
        "requests": service.requests,
        "faults": service.befallen,
        "sent": service.api.sent,
        "received": service.received,
        "deleted": service.api.deleted,
        "bytes_in": service.bytes_in,
        "bytes_out": service.bytes_out,
    }


def _reset_stats(service: Service) -> None:
    service.forget_counts()


def _contents(service: Service, name: str) -> dict[str, dict[str, int]]:
    queue = service.account.queue(name)
    queue.look(service.now())

    def those(state: State) -> dict[str, int]:
        return {message.id: message.receives for message in queue if message.state is state}

    return {
        "waiting": those(State.WAITING),
        "delayed": those(State.DELAYED),
        "in_flight": those(State.IN_FLIGHT),
        "deleted": queue.deleted,
        "expired": queue.expired,
    }


_ROUTES: dict[str, Callable[..., Any]] = {
    "create": _create,
    "load": _load,
    "latency": _latency,
    "faults": _faults,
    "short_receives": _short_receives,
    "tick": _tick,
    "now": _now,
    "stats": _stats,
    "reset_stats": _reset_stats,
    "contents": _contents,
}
