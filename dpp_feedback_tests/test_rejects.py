"""The table of rejected messages, in a real Postgres; kept bodies in one that has pgcrypto."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from dpp_feedback.connection import DatabaseRefused, DatabaseUnavailable
from dpp_feedback.feedback.parser import PARSER_VERSION
from dpp_feedback.messages import sha256_of, size_of
from dpp_feedback.migrate import migrate
from dpp_feedback.rejects import Reject, Rejects, Resolution, table
from dpp_feedback.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback.local.postgres import EmbeddedPostgres
    from dpp_feedback.local.stack import Stack

    Database = psycopg.Connection[tuple[Any, ...]]

SENT = datetime(2026, 2, 17, 8, 30, tzinfo=UTC)
KEY = "a passphrase of some length"
DLQ = "dlq"


def _reject(message_id: str, body: str = "no JSON", **changes: Any) -> Reject:
    values: dict[str, Any] = {
        "reason": "not_json",
        "detail": "the body is no JSON",
        "kind": "Bounce",
        "topic_arn": "arn:aws:sns:ap-northeast-2:123456789012:bounces",
        "queue": "queue",
        "sent_at": SENT,
        "body_sha256": sha256_of(body),
        "body_bytes": size_of(body),
    }
    return Reject(message_id=message_id, body=body, **values | changes)


def _done(message_id: str, body: str) -> tuple[str, str]:
    return message_id, sha256_of(body)


@pytest.fixture
def rejects(database_url: str) -> Iterator[Rejects]:
    migrate(database_url)
    with Store.connect(database_url) as store:
        yield store.rejects


def _all(database: Database, columns: str) -> list[tuple[Any, ...]]:
    query = f"SELECT {columns} FROM public.ses_feedback_rejects ORDER BY message_id"  # noqa: S608
    return database.execute(query.encode()).fetchall()


# Recording


def test_a_table_that_stays_locked_is_a_fault_that_passes(
    database_url: str, rejects: Rejects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "LOCK_TIMEOUT", "SET LOCAL lock_timeout = '50ms'")
    with closing(psycopg.connect(database_url)) as other:
        other.execute("LOCK TABLE public.ses_feedback_rejects")
        for write in (
            lambda: rejects.record([_reject("a")], run_id=None),
            lambda: rejects.mark_redriven(DLQ),
        ):
            with pytest.raises(DatabaseUnavailable, match="waited too long for a lock"):
                write()


def test_a_reject_is_recorded_as_it_is(rejects: Rejects) -> None:
    body = "schön \x00 \ud800"
    rejects.record([_reject("m", body)], run_id="run")
    row = rejects.find(["m", "not there"])["m"]
    encoded = body.encode("utf-8", "surrogatepass")
    assert (row.body_sha256, row.body_bytes) == (sha256(encoded).hexdigest(), len(encoded))
    assert (row.reason, row.detail, row.kind) == ("not_json", "the body is no JSON", "Bounce")
    assert row.topic_arn == "arn:aws:sns:ap-northeast-2:123456789012:bounces"
    assert (row.queue, row.sent_at, row.last_run_id) == ("queue", SENT, "run")
    assert (row.times_seen, row.parser_version) == (1, PARSER_VERSION)
    assert row.first_seen_at == row.last_seen_at
    assert (row.resolution, row.resolved_at, row.resolved_by) == (Resolution.WAITING, None, None)
    assert row.body_kept_until is None
    assert rejects.body("m") is None


def test_the_body_stays_out_of_a_reject_s_repr() -> None:
    assert "jane@example.com" not in repr(_reject("m", "jane@example.com"))


def test_a_message_that_comes_again_is_seen_once_more(rejects: Rejects) -> None:
    rejects.record([_reject("m"), _reject("other", "other")], run_id="one")
    later = _reject("m", reason="missing_details", detail="changed", queue=DLQ)
    rejects.record([later, later], run_id="two")  # twice in one run is once
    row = rejects.find(["m"])["m"]
    assert (row.times_seen, row.last_run_id, row.queue) == (2, "two", DLQ)
    assert (row.reason, row.detail) == ("missing_details", "changed")
    assert row.first_seen_at < row.last_seen_at
    assert rejects.find(["other"])["other"].times_seen == 1
    rejects.record([later], run_id="two")  # it tries again, as after a lost connection
    assert rejects.find(["m"])["m"].times_seen == 2
    rejects.record([later], run_id=None)
    row = rejects.find(["m"])["m"]
    assert (row.times_seen, row.last_run_id) == (3, "two")


@pytest.mark.parametrize("resolution", [Resolution.REPROCESSED, "expired", "discarded"])
def test_a_resolved_message_that_comes_again_waits_again(rejects: Rejects, resolution: str) -> None:
    rejects.record([_reject("m")], run_id="one")
    match resolution:
        case Resolution.REPROCESSED:
            rejects.resolve_stored([_done("m", "no JSON")], by="me", run_id="two")
        case Resolution.EXPIRED:
            rejects.expire(SENT + timedelta(days=1), except_ids=[], run_id="two")
        case _:
            rejects.discard([_reject("m")], by="me")
    assert rejects.find(["m"])["m"].resolution == resolution
    rejects.record([_reject("m")], run_id="three")
    row = rejects.find(["m"])["m"]
    assert row.resolution == Resolution.WAITING
    assert (row.resolved_at, row.resolved_by, row.resolved_run_id) == (None, None, None)


def test_what_postgres_cannot_hold_does_not_stop_a_record(rejects: Rejects) -> None:
    odd = "a\x00b\ud800c"
    reject = _reject("m", reason=odd, detail=odd + "x" * 600, kind=odd, topic_arn=odd, queue=odd)
    rejects.record([_reject("good"), reject], run_id=odd)
    row = rejects.find(["m"])["m"]
    assert {row.reason, row.kind, row.topic_arn, row.queue, row.last_run_id} == {"a?b?c"}
    assert row.detail == ("a?b?c" + "x" * 600)[:500]
    rejects.judge({"m": (odd, odd)})
    assert rejects.find([odd, "m"])["m"].detail == "a?b?c"


def test_a_database_that_cannot_hold_a_letter_takes_the_record(stack: Stack) -> None:
    name = f"latin_{uuid4().hex}"
    with closing(psycopg.connect(stack.postgres.url("postgres"), autocommit=True)) as server:
        server.execute(
            f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' "
            "TEMPLATE template0"
        )
        try:
            migrate(stack.postgres.url(name))
            with Store.connect(stack.postgres.url(name)) as store:
                store.rejects.record([_reject("m", "\u97d3", detail="\u97d3: no JSON")], run_id="r")
                assert store.rejects.find(["m"])["m"].detail == "?: no JSON"
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_no_rejects_need_no_statement(rejects: Rejects) -> None:
    rejects.record([], run_id="run")
    rejects.discard([], by="me")
    rejects.reopen([])
    rejects.judge({})
    assert rejects.resolve_stored([], by="me", run_id=None) == 0
    assert rejects.find([]) == {}
    assert rejects.waiting().by_reason == {}


def test_runs_at_once_that_meet_the_same_messages_count_each_and_do_not_deadlock(
    database: Database, database_url: str
) -> None:
    messages = [_reject(f"{number:05}", f"body {number}") for number in range(2500)]

    def run(number: int) -> None:
        with Store.connect(database_url) as store:
            store.rejects.record(messages[:: 1 if number % 2 else -1], run_id=str(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    assert _all(database, "times_seen") == [(4,)] * 2500


# Redriven messages


def test_a_redriven_message_s_row_follows_it_to_its_new_id(rejects: Rejects) -> None:
    rejects.record([_reject("old", "body", queue=DLQ), _reject("else", "else")], run_id="one")
    first_seen_at = rejects.find(["old"])["old"].first_seen_at
    assert rejects.mark_redriven(DLQ) == 2
    later = SENT + timedelta(days=3)
    rejects.record([_reject("new", "body", sent_at=later)], run_id="two")
    rows = rejects.find(["old", "new", "else"])
    assert rows.keys() == {"new", "else"}
    assert (rows["new"].first_seen_at, rows["new"].times_seen) == (first_seen_at, 2)
    assert (rows["new"].sent_at, rows["new"].queue) == (later, "queue")
    # The mark is used up: a third message is another one.
    rejects.record([_reject("third", "body")], run_id="two")
    assert rejects.find(["third", "new"]).keys() == {"third", "new"}


def test_a_discarded_copy_takes_no_row_from_a_message_that_may_lie_there(rejects: Rejects) -> None:
    rejects.record([_reject("there", "body")], run_id="one")
    rejects.mark_redriven(DLQ)
    rejects.discard([_reject("copy", "body")], by="jane")
    rows = rejects.find(["there", "copy"])
    assert {name: row.resolution.value for name, row in rows.items()} == {
        "there": "waiting",
        "copy": "discarded",
    }


def test_a_message_that_was_not_redriven_keeps_its_row(rejects: Rejects) -> None:
    rejects.record([_reject("one", "body")], run_id="run")
    rejects.record([_reject("two", "body")], run_id="run")
    assert rejects.find(["one", "two"]).keys() == {"one", "two"}


def test_each_new_message_takes_over_one_row(database: Database, rejects: Rejects) -> None:
    rejects.record([_reject(f"old{n}", "body") for n in range(3)], run_id="one")
    rejects.mark_redriven(DLQ)
    rejects.record([_reject(f"new{n}", "body") for n in range(2)], run_id="two")
    assert _all(database, "message_id, times_seen") == [("new0", 2), ("new1", 2), ("old2", 1)]


def test_a_message_with_a_row_of_its_own_takes_over_no_other(
    database: Database, rejects: Rejects
) -> None:
    """Marked, and seen under its old id: the redrive did not come to it, or was cancelled."""
    rejects.record([_reject("a", "body"), _reject("b", "body")], run_id="one")
    rejects.mark_redriven(DLQ)
    rejects.record([_reject("a", "body"), _reject("new", "body")], run_id="two")
    assert _all(database, "message_id, times_seen, redriven_at") == [
        ("a", 2, None),
        ("new", 2, None),
    ]


def test_a_row_whose_message_comes_in_a_later_batch_is_not_taken_over(
    database: Database, rejects: Rejects, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejects.record([_reject("z", "body")], run_id="one")
    rejects.mark_redriven(DLQ)
    monkeypatch.setattr(table, "_BATCH", 1)
    rejects.record([_reject("a", "body"), _reject("z", "body")], run_id="two")
    assert _all(database, "message_id, times_seen") == [("a", 1), ("z", 2)]


def test_runs_at_once_take_over_each_row_once(database: Database, database_url: str) -> None:
    with Store.connect(database_url) as store:
        store.rejects.record([_reject(f"old{n:03}", f"{n % 7}") for n in range(350)], run_id="one")
        store.rejects.mark_redriven(DLQ)

    def run(worker: int) -> int:
        # Three reject what comes back, the fourth stores it.
        messages = [(f"new{n:03}", f"{n % 7}") for n in range(worker, 400, 4)]
        with Store.connect(database_url) as store:
            if worker == 3:
                stored = [_done(*message) for message in messages]
                return store.rejects.resolve_stored(stored, by="run", run_id="two")
            store.rejects.record([_reject(*message) for message in messages], run_id="two")
            return 0

    with ThreadPoolExecutor(4) as pool:
        resolved = sum(pool.map(run, range(4)))
    rows = _all(database, "message_id, resolution, times_seen")
    taken_over = [row for row in rows if row[1] == "waiting" and row[2] == 2]
    # No row is lost or doubled: each old one is taken over, resolved, or still there.
    left = [row for row in rows if row[0].startswith("old") and row[1] == "waiting"]
    assert len(taken_over) + resolved + len(left) == 350
    assert {id_ for id_, *_ in rows if id_.startswith("new")} == {
        f"new{n:03}" for n in range(400) if n % 4 != 3
    }


# What became of them


def test_a_stored_message_resolves_its_row_and_no_other(rejects: Rejects) -> None:
    rejects.record([_reject("m", "body"), _reject("same body", "body")], run_id="one")
    assert (
        rejects.resolve_stored([_done("m", "body"), _done("new", "body")], by="me", run_id="two")
        == 1
    )
    row = rejects.find(["m"])["m"]
    assert (row.resolution, row.resolved_by, row.resolved_run_id) == ("reprocessed", "me", "two")
    assert row.resolved_at is not None
    assert rejects.find(["same body"])["same body"].resolution == Resolution.WAITING
    assert rejects.resolve_stored([_done("m", "body")], by="other", run_id="three") == 0
    assert rejects.find(["m"])["m"].resolved_by == "me"


def test_a_stored_message_resolves_one_redriven_row_with_its_body(
    database: Database, rejects: Rejects
) -> None:
    rejects.record([_reject(f"old{n}", "body") for n in range(3)], run_id="one")
    rejects.record([_reject("own", "body")], run_id="one")
    rejects.mark_redriven(DLQ)
    done = [_done("new", "body"), _done("new", "body"), _done("own", "body"), _done("else", "else")]
    assert rejects.resolve_stored(done, by="me", run_id="two") == 2
    assert Counter(_all(database, "left(message_id, 3), resolution")) == {
        ("old", "reprocessed"): 1,
        ("own", "reprocessed"): 1,
        ("old", "waiting"): 2,
    }


def test_a_discard_is_recorded_of_known_and_unknown_messages_and_taken_back(
    rejects: Rejects,
) -> None:
    rejects.record([_reject("m")], run_id="one")
    rejects.discard([_reject("m"), _reject("new", "new")], by="me")
    for row in rejects.find(["m", "new"]).values():
        assert (row.resolution, row.resolved_by) == (Resolution.DISCARDED, "me")
    assert rejects.find(["m"])["m"].last_run_id == "one"
    rejects.reopen(["m", "not there"])
    rows = rejects.find(["m", "new"])
    assert (rows["m"].resolution, rows["m"].resolved_by) == (Resolution.WAITING, None)
    assert rows["new"].resolution == Resolution.DISCARDED


def test_only_a_discard_is_reopened(rejects: Rejects) -> None:
    rejects.record([_reject("m")], run_id="one")
    rejects.resolve_stored([_done("m", "no JSON")], by="me", run_id="one")
    rejects.reopen(["m"])
    assert rejects.find(["m"])["m"].resolution == Resolution.REPROCESSED


def test_messages_that_sqs_has_deleted_expire(rejects: Rejects) -> None:
    old, young = SENT, SENT + timedelta(days=2)
    rejects.record([_reject("old", sent_at=old), _reject("young", sent_at=young)], run_id="one")
    rejects.record([_reject("seen", sent_at=old), _reject("done", "done")], run_id="one")
    rejects.resolve_stored([_done("done", "done")], by="me", run_id="one")
    assert rejects.expire(SENT + timedelta(days=1), except_ids={"seen"}, run_id="two") == 1
    rows = rejects.find(["old", "young", "seen", "done"])
    assert rows["old"].resolution == Resolution.EXPIRED
    assert (rows["old"].resolved_by, rows["old"].resolved_run_id) == (None, "two")
    assert rows["young"].resolution == rows["seen"].resolution == Resolution.WAITING
    assert rows["done"].resolution == Resolution.REPROCESSED


def test_a_redriven_message_expires_as_if_sent_when_it_was_redriven(rejects: Rejects) -> None:
    rejects.record([_reject("m", sent_at=SENT)], run_id="one")
    rejects.mark_redriven(DLQ)
    now = datetime.now(UTC)
    assert rejects.expire(now - timedelta(days=1), except_ids=[], run_id=None) == 0
    assert rejects.expire(now + timedelta(days=1), except_ids=[], run_id=None) == 1


def test_what_waits_is_counted_by_reason_and_by_parser(
    rejects: Rejects, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejects.record([_reject(f"{n}") for n in range(3)], run_id="one")
    rejects.record([_reject("refused", reason="refused_by_database")], run_id="one")
    rejects.record([_reject("gone", reason="refused_by_database")], run_id="one")
    rejects.discard([_reject("gone", reason="refused_by_database")], by="me")
    assert rejects.refused() == {"refused"}
    assert dict(rejects.waiting().by_reason) == {"not_json": 3, "refused_by_database": 1}
    assert rejects.waiting().older == 0
    monkeypatch.setattr(table, "PARSER_VERSION", PARSER_VERSION + 1)
    assert rejects.waiting().older == 4
    before = rejects.find(["0"])["0"]
    rejects.judge({"0": ("missing_details", "now"), "gone": ("x", "x"), "not there": ("x", "x")})
    after = rejects.find(["0"])["0"]
    assert (after.reason, after.detail) == ("missing_details", "now")
    assert after.parser_version == PARSER_VERSION + 1
    assert (after.times_seen, after.last_seen_at) == (before.times_seen, before.last_seen_at)
    assert rejects.find(["gone"])["gone"].reason == "refused_by_database"
    assert rejects.waiting().older == 3


# Who may


def test_the_service_role_does_all_of_it(database: Database) -> None:
    if not database.execute("SELECT 1 FROM pg_roles WHERE rolname = 'service_role'").fetchone():
        database.execute("CREATE ROLE service_role NOLOGIN BYPASSRLS")
    # Whether the role was there when the database was migrated, or another test has made it since.
    file = "20261127_create_ses_feedback_rejects.sql"
    database.execute((Path(__file__).parent.parent / "migrations" / file).read_bytes())
    database.execute("ALTER ROLE service_role NOBYPASSRLS")
    try:
        database.execute("SET ROLE service_role")
        rejects = Rejects(database)
        rejects.check()
        rejects.record([_reject("m"), _reject("n", "n")], run_id="one")
        rejects.mark_redriven(DLQ)
        rejects.record([_reject("new", "n")], run_id="two")
        rejects.discard([_reject("m")], by="me")
        rejects.reopen(["m"])
        rejects.judge({"m": ("not_json", "")})
        assert rejects.resolve_stored([_done("m", "")], by="me", run_id=None) == 1
        assert rejects.expire(datetime.now(UTC), except_ids=[], run_id=None) == 1
        assert rejects.drop_old_bodies() == 0
        assert rejects.find(["m", "new"]).keys() == {"m", "new"}
    finally:
        database.execute("RESET ROLE")
        database.execute("ALTER ROLE service_role BYPASSRLS")


def test_a_missing_table_is_said_with_the_command_that_makes_it(database_url: str) -> None:
    with Store.connect(database_url) as store:
        for act in (
            lambda: store.rejects.record([_reject("m")], run_id=None),
            lambda: store.rejects.resolve_stored([_done("m", "")], by="me", run_id=None),
            store.rejects.waiting,
        ):
            with pytest.raises(DatabaseRefused, match=r"a table is missing .*feedback migrate`"):
                act()


# Kept bodies


@pytest.fixture(params=["public", "extensions", 'odd "schema"'])
def crypto(crypto_url: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    """The same with pgcrypto set up, in one schema or another."""
    schema = psycopg.sql.Identifier(request.param)
    with closing(psycopg.connect(crypto_url, autocommit=True)) as database:
        for statement in (
            "CREATE SCHEMA IF NOT EXISTS {}",
            "CREATE EXTENSION pgcrypto WITH SCHEMA {}",
        ):
            database.execute(psycopg.sql.SQL(statement).format(schema))
        yield database


def test_a_body_is_kept_encrypted_and_read_with_the_key(crypto: Database, crypto_url: str) -> None:
    body = "jane@example.com \x00 \ud800 \u97d3" + "x" * 200_000
    with Store.connect(crypto_url, KEY) as store:
        store.check()
        assert _all(crypto, "1") == []
        store.rejects.record([_reject("m", body)], run_id="run")
        assert store.rejects.body("m") == body
        assert store.rejects.body("not there") is None
        kept_until = store.rejects.find(["m"])["m"].body_kept_until
    assert kept_until is not None
    assert abs(kept_until - datetime.now(UTC) - timedelta(days=30)) < timedelta(hours=1)
    ((stored, seen),) = _all(crypto, "body, first_seen_at")
    assert b"jane@example.com" not in stored
    # RFC 4880: tag 3, length, version 4, and 9 for AES with a key of 256 bits.
    assert stored[0] == 0xC3
    assert (stored[2], stored[3]) == (4, 9)
    assert seen is not None


def test_another_key_and_no_key_are_refused_with_the_setting(
    crypto: Database, crypto_url: str
) -> None:
    with Store.connect(crypto_url, KEY) as store:
        store.rejects.record([_reject("m", "body")], run_id="run")
    for key, said in {
        "another passphrase": "kept with another key: set SES_FEEDBACK_REJECT_KEY to the one",
        None: "kept encrypted: set SES_FEEDBACK_REJECT_KEY to the key",
    }.items():
        with (
            Store.connect(crypto_url, key) as store,
            pytest.raises(DatabaseRefused, match=said) as caught,
        ):
            store.rejects.body("m")
        assert "passphrase" not in str(caught.value)
    assert len(_all(crypto, "body")) == 1


def test_a_body_goes_when_its_message_is_stored_or_discarded_and_stays_when_it_expires(
    crypto: Database, crypto_url: str
) -> None:
    with Store.connect(crypto_url, KEY) as store:
        rejects = store.rejects
        rejects.record([_reject(name, name) for name in ("a", "b", "c", "d")], run_id="run")
        rejects.resolve_stored([_done("a", "a")], by="me", run_id=None)
        rejects.discard([_reject("b", "b")], by="me")
        rejects.expire(SENT + timedelta(days=1), except_ids=["d"], run_id=None)
        kept = _all(crypto, "message_id, body IS NOT NULL, body_kept_until IS NOT NULL")
        assert kept == [
            ("a", False, False),
            ("b", False, False),
            ("c", True, True),
            ("d", True, True),
        ]
        assert rejects.body("c") == "c"
        assert rejects.drop_old_bodies() == 0
        crypto.execute(
            "UPDATE public.ses_feedback_rejects SET body_kept_until = now() - interval '1 second' "
            "WHERE message_id = 'c'"
        )
        assert rejects.drop_old_bodies() == 1
        assert rejects.body("c") is None
        assert rejects.body("d") == "d"


@pytest.mark.usefixtures("crypto")
def test_a_kept_body_stays_when_the_key_is_unset_and_its_row_follows_a_redrive(
    crypto_url: str,
) -> None:
    with Store.connect(crypto_url, KEY) as store:
        store.rejects.record([_reject("old", "body")], run_id="run")
    with Store.connect(crypto_url) as store:
        store.rejects.mark_redriven(DLQ)
        store.rejects.record([_reject("new", "body")], run_id="run")
    with Store.connect(crypto_url, KEY) as store:
        assert store.rejects.body("new") == "body"


def test_a_namesake_of_pgcrypto_is_handed_no_key(crypto: Database, crypto_url: str) -> None:
    crypto.execute("""
        CREATE SCHEMA first;
        CREATE FUNCTION first.pgp_sym_encrypt_bytea(bytea, text, text) RETURNS bytea
        LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught %', $2; END $$;
    """)
    with Store.connect(f"{crypto_url}?options=-csearch_path%3Dfirst", KEY) as store:
        store.rejects.record([_reject("m", "body")], run_id="run")
        assert store.rejects.body("m") == "body"


def test_a_database_without_pgcrypto_is_found_before_a_message_is_received(
    database: Database, database_url: str
) -> None:
    with Store.connect(database_url, KEY) as store:
        with pytest.raises(DatabaseRefused, match="run `create extension pgcrypto`") as caught:
            store.check()
        assert KEY not in str(caught.value)
    assert _all(database, "1") == []


def test_neither_key_nor_body_is_in_the_server_s_log_of_a_statement_that_fails(
    pgcrypto_server: EmbeddedPostgres, crypto: Database, crypto_url: str
) -> None:
    crypto.execute("ALTER TABLE public.ses_feedback_rejects ADD CHECK (body IS NULL)")
    with Store.connect(crypto_url, KEY) as store:
        with pytest.raises(DatabaseRefused, match="CheckViolation") as caught:
            store.rejects.record([_reject("m", "jane@example.com")], run_id="run")
        assert KEY not in str(caught.value)
    log = pgcrypto_server.log.read_text()
    assert "pgp_sym_encrypt_bytea" in log
    assert KEY not in log
    assert "jane@example.com" not in log
