"""The view of the events with masked addresses: what it shows, and that it says as `masked`."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpp_feedback.masking import masked
from dpp_feedback.migrate import migrate
from dpp_feedback_tests.database.guarded import MASKED, Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback_tests.database.servers import Server

_ADD = """
INSERT INTO public.ses_feedback_events
  (notification_type, ses_message_id, source, primary_recipient, event_at, dedupe_key)
VALUES ('Delivery', 'm', %s, %s, now(), gen_random_uuid()::text)
"""
_SHOWN = "SELECT source, primary_recipient FROM dpp_feedback.ses_feedback_events_masked"
# Local parts and domains as providers give them, in lower case, as the parser stores them.
_LOCAL = st.from_regex(r"[a-z0-9][a-z0-9._+=-]{0,40}", fullmatch=True)
_DOMAIN = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{2,10}){1,3}", fullmatch=True)


@pytest.fixture(scope="module")
def db(server: Server) -> Iterator[Connection]:
    url = server.new_database()
    migrate(url)
    with closing(psycopg.connect(url, autocommit=True)) as db:
        yield db


def shown(db: Connection, source: str | None, recipient: str | None) -> tuple[object, ...]:
    """What the view shows of an event."""
    with db.transaction(force_rollback=True):
        db.execute(_ADD, [source, recipient])
        (row,) = db.execute(_SHOWN).fetchall()
    return row


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(local=_LOCAL, domain=_DOMAIN)
def test_an_ordinary_address_is_masked_as_everywhere_else(
    db: Connection, local: str, domain: str
) -> None:
    address = f"{local}@{domain}"
    assert shown(db, address, address) == (masked(address), masked(address))
    assert masked(address) == f"{local[0]}***@{domain}"


@pytest.mark.parametrize(
    ("address", "mask"),
    [
        (None, None),
        ("", None),
        ("j@example.com", "j***@example.com"),
        ("@example.com", "***@example.com"),  # an erased person
        ('"jane doe"@example.com', "***@example.com"),
        ('"jane@home"@example.com', "***@example.com"),
        ("jane@home@example.com", "j***@example.com"),
        ("=jane@example.com", "***@example.com"),
        ("no address", "***"),
        ("bounce+jane=example.org@shop.example", "b***@shop.example"),
        ("jane\n.doe@example.com", "j***@example.com"),
    ],
)
def test_what_is_no_ordinary_address_shows_no_more(
    db: Connection, address: str | None, mask: str | None
) -> None:
    assert shown(db, address, address) == (mask, mask)


def test_its_columns_are_a_list_of_what_is_allowed(db: Connection) -> None:
    """A column that comes into the events, or a detail into type_data, is not shown by itself."""
    columns = [column.name for column in db.execute(f"TABLE {MASKED}".encode()).description or ()]
    assert columns == [
        *("id", "notification_type", "ses_message_id", "source", "primary_recipient"),
        *("bounce_type", "bounce_sub_type", "configuration_set", "event_at", "received_at"),
    ]
    with db.transaction(force_rollback=True):
        db.execute("ALTER TABLE public.ses_feedback_events ADD COLUMN nickname text")
        description = db.execute(f"TABLE {MASKED}".encode()).description
        assert [column.name for column in description or ()] == columns


def test_it_says_why_it_reads_with_its_owner_s_rights(db: Connection) -> None:
    row = db.execute(
        "SELECT obj_description(oid), reloptions,"
        " relowner = (SELECT relowner FROM pg_class"
        " WHERE oid = 'public.ses_feedback_events'::regclass)"
        " FROM pg_class WHERE oid = 'dpp_feedback.ses_feedback_events_masked'::regclass"
    ).fetchone()
    assert row
    assert "rights of its owner" in row[0]
    assert row[1:] == (["security_barrier=true"], True)


def test_a_day_of_it_is_read_from_an_index(db: Connection) -> None:
    """A security barrier lets through what cannot tell: comparisons of times and texts."""
    with db.transaction(force_rollback=True):
        db.execute("SET LOCAL enable_seqscan = off")
        plan = db.execute(
            "EXPLAIN SELECT * FROM dpp_feedback.ses_feedback_events_masked"
            " WHERE event_at > now() - interval '1 day'"
        ).fetchall()
    assert "Index Cond: (event_at > " in str(plan)
