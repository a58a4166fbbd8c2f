"""No value of the product shows an address, a body, a key or a login when it is printed.

Exceptions, debuggers and pytest print values; a log may print them by mistake.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pkgutil
import re
import traceback
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

import dpp_feedback
from dpp_feedback.connection import DatabaseRefused, connect
from dpp_feedback.drained import Read, Received, Source
from dpp_feedback.explain import explain
from dpp_feedback.feedback.glance import glance
from dpp_feedback.messages import Message
from dpp_feedback.notify import Channels
from dpp_feedback.resources import AlertChannels, FeedbackQueue, FeedbackStore
from dpp_feedback.store import Store
from dpp_feedback_tests.canaries.bodies import PEOPLE, event, poison
from dpp_feedback_tests.canaries.search import Search

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# Names of fields that hold such things, perhaps behind a word and "_".
_TELLING = re.compile(
    "(.*_)?(recipients?|address(es)?|body|payload|type_data|receipt_handle|secret|token|password|"
    "webhook_url|database_url|passphrase|reject_key|erasure_key|hmac|actor|resolved_by|mail_from|"
    "mail_to)"
)
# Of a kind of event: where its recipients stand.
_HARMLESS = {"feedback.kinds.Kind.recipients"}


def _dataclasses() -> Iterator[type[Any]]:
    """All but the local stack's, whose people and settings are made up."""
    for module in pkgutil.walk_packages(dpp_feedback.__path__, "dpp_feedback."):
        if module.name.startswith("dpp_feedback.local"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if (
                inspect.isclass(value)
                and value.__module__ == module.name
                and dataclasses.is_dataclass(value)
            ):
                yield value


def test_fields_that_hold_something_personal_or_secret_are_not_in_a_repr() -> None:
    shown = {
        f"{kind.__module__}.{kind.__qualname__}.{field.name}".removeprefix("dpp_feedback.")
        for kind in _dataclasses()
        for field in dataclasses.fields(kind)
        if field.repr and _TELLING.fullmatch(field.name)
    }
    assert shown == _HARMLESS


@pytest.mark.parametrize("body", [event("Bounce"), event("Click", "complainer"), *poison()])
def test_what_a_message_says_is_in_no_repr(body: str) -> None:
    now = datetime.now(UTC)
    message = Message("id", now, 1, body, "handle-of-it")
    read = Read.of(message, keep_body=True)
    received = Received([message, read], Source("queue"), True, {})
    values = [message, read, received, glance(body, now), explain(body.encode(), now)]
    assert Search(PEOPLE)(json.dumps([repr(value) for value in values])) == set()
    assert "handle-of-it" not in repr(values)


def test_what_holds_a_setting_does_not_show_it(
    database_url: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SES_FEEDBACK_SLACK_WEBHOOK_URL", "https://hooks.example/very-secret")
    monkeypatch.setenv("SES_FEEDBACK_MAIL_TO", "very-secret@example.com")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    url = database_url.replace("postgres@", "postgres:very-secret@")
    monkeypatch.setenv("DATABASE_URL", url)
    queue = FeedbackQueue()
    channels = AlertChannels()
    assert isinstance(channels.connect(), Channels)
    with (
        closing(connect(url, "test")) as connection,
        Store.connect(url, "very-secret-passphrase") as store,
    ):
        shown = [
            *(queue, queue.connect(), FeedbackStore(), store, store.rejects, connection),
            *(channels, channels.connect(), vars(connection).get("_conninfo"), environment and ""),
        ]
        assert "very-secret" not in repr(shown)


def test_an_error_of_postgres_says_no_password(database_url: str) -> None:
    url = database_url.replace("postgres@", "nobody:very-secret@")
    with pytest.raises(DatabaseRefused, match="does not exist") as refused:
        connect(url, "test")
    assert "very-secret" not in "".join(traceback.format_exception(refused.value))
