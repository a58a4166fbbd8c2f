"""The record of acts on the dead-letter queue, in a real Postgres."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dpp_feedback.connection import DatabaseRefused
from dpp_feedback.feedback.parser import PARSER_VERSION
from dpp_feedback.store import Store

if TYPE_CHECKING:
    import psycopg

    Database = psycopg.Connection[tuple[Any, ...]]


def test_an_act_is_recorded_before_it_begins_and_completed_when_it_ends(
    database: Database, database_url: str
) -> None:
    with Store.connect(database_url) as store:
        act = store.dlq_actions.begin(
            "reprocess",
            actor="arn:aws:iam::123456789012:user/jane",
            selection={"reasons": ["not_json"], "received_after": "2026-02-17T00:00:00+00:00"},
            dry_run=True,
            run_id="run",
            why="the topic was wired wrongly",
        )
        query = "SELECT * FROM public.ses_feedback_dlq_actions"
        cursor = database.execute(query)
        (row,) = cursor.fetchall()
        columns = [column.name for column in cursor.description or []]
        begun = dict(zip(columns, row, strict=True))
        assert act.version == 7
        assert datetime.now(UTC) - begun.pop("started_at") < timedelta(minutes=5)
        assert begun == {
            "id": act,
            "action": "reprocess",
            "actor": "arn:aws:iam::123456789012:user/jane",
            "selection": {
                "reasons": ["not_json"],
                "received_after": "2026-02-17T00:00:00+00:00",
            },
            "dry_run": True,
            "why": "the topic was wired wrongly",
            "run_id": "run",
            "parser_version": PARSER_VERSION,
            "finished_at": None,
            "moved": None,
            "counts": None,
            "error": None,
            "database_user": "postgres",
        }
        store.dlq_actions.finish(act, moved=3, counts={"stored": 3, "rejected": 1}, error="ended")
    finished = database.execute(
        "SELECT finished_at >= started_at, moved, counts, error "
        "FROM public.ses_feedback_dlq_actions"
    ).fetchall()
    assert finished == [(True, 3, {"stored": 3, "rejected": 1}, "ended")]


def test_only_the_act_that_ended_is_completed(database: Database, database_url: str) -> None:
    with Store.connect(database_url) as store:
        acts = [
            store.dlq_actions.begin("discard", actor="me", selection={"message_ids": [str(number)]})
            for number in range(3)
        ]
        store.dlq_actions.finish(acts[1], moved=1, counts={})
    open_ones = database.execute(
        "SELECT id FROM public.ses_feedback_dlq_actions WHERE finished_at IS NULL ORDER BY id"
    ).fetchall()
    assert [id_ for (id_,) in open_ones] == [acts[0], acts[2]]


def test_what_postgres_cannot_hold_does_not_stop_an_act(
    database: Database, database_url: str
) -> None:
    odd = "a\x00b\ud800c"
    with Store.connect(database_url) as store:
        act = store.dlq_actions.begin(
            "redrive", actor=odd, selection={odd: [odd, 7, None]}, why=odd + "x" * 1000
        )
        store.dlq_actions.finish(act, moved=0, counts={odd: 1}, error=odd)
    (row,) = database.execute(
        "SELECT actor, selection, why, counts, error FROM public.ses_feedback_dlq_actions"
    ).fetchall()
    assert row == (
        "a?b?c",
        {"a?b?c": ["a?b?c", 7, None]},
        ("a?b?c" + "x" * 1000)[:500],
        {"a?b?c": 1},
        "a?b?c",
    )


def test_a_missing_table_is_said_with_the_command_that_makes_it(
    database: Database, database_url: str
) -> None:
    database.execute("DROP TABLE public.ses_feedback_dlq_actions")
    with (
        Store.connect(database_url) as store,
        pytest.raises(DatabaseRefused, match=r"dlq_actions fails: a table is missing .* migrate"),
    ):
        store.dlq_actions.begin("cancel_redrive", actor="me", selection={})


def test_an_act_that_a_trigger_drops_does_not_begin(database: Database, database_url: str) -> None:
    database.execute("""
        CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER swallow BEFORE INSERT ON public.ses_feedback_dlq_actions
        FOR EACH ROW EXECUTE FUNCTION swallow();
    """)
    with Store.connect(database_url) as store, pytest.raises(DatabaseRefused, match="keeps none"):
        store.dlq_actions.begin("discard", actor="me", selection={})
