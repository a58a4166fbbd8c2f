"""Retention: what goes, what stays, and that counters and the suppression list say the same."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dpp_feedback.connection import DatabaseRefused, connect
from dpp_feedback.removal import old
from dpp_feedback.store import Store
from dpp_feedback_tests.test_daily_counts import event
from dpp_feedback_tests.test_suppression import DSN, Events

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    Database = psycopg.Connection[tuple[Any, ...]]

DAYS = 100
WHO = "tests"


@pytest.fixture
def events(database: Database) -> Events:
    return Events(database)


@pytest.fixture
def store(database: Database, database_url: str) -> Iterator[Store]:  # noqa: ARG001 - migrates
    with Store.connect(database_url) as store:
        yield store


def _left(database: Database) -> int:
    return int(_one(database, "SELECT count(*) FROM public.ses_feedback_events"))


def _one(database: Database, query: str) -> Any:
    row = database.execute(query.encode()).fetchone()
    assert row
    return row[0]


def _counters(database: Database) -> list[tuple[Any, ...]]:
    return database.execute(
        "SELECT * FROM public.ses_feedback_daily_counts WHERE count <> 0 ORDER BY 1, 2, 3, 4, 9"
    ).fetchall()


def _filled(store: Store, ages: list[float]) -> None:
    """Store deliveries as a drain does, told by how many days ago they happened."""
    now = datetime.now(UTC)
    store.insert(
        [
            event(number, event_at=now - timedelta(days=age), dedupe_key=f"{number}-{age}")
            for number, age in enumerate(ages)
        ]
    )


# What goes


def test_events_from_before_whole_days_go_and_the_others_stay(
    database: Database, store: Store
) -> None:
    _filled(store, [0, 50, DAYS - 1, DAYS + 1.1, 300])
    removed = old.remove(database, DAYS, actor=WHO)
    assert (removed.events, removed.kept) == (2, 0)
    assert removed.before == datetime.now(UTC).replace(
        hour=0, minute=0, second=0, microsecond=0
    ) - timedelta(days=DAYS)
    assert _left(database) == 3


def test_a_session_in_another_time_zone_removes_the_same(database: Database) -> None:
    database.execute("SET TimeZone = 'Pacific/Kiritimati'")
    removed = old.remove(database, DAYS, actor=WHO)
    assert removed.before is not None
    assert (removed.before.hour, removed.before.utcoffset()) == (0, timedelta(0))


def test_more_events_than_a_batch_go_in_several(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(old, "BATCH", 3)
    _filled(store, [200 + number / 10 for number in range(10)])
    seen: list[int] = []
    assert old.remove(database, DAYS, actor=WHO, progress=seen.append).events == 10
    assert seen == [3, 6, 9, 10]


def test_a_look_says_the_same_and_changes_nothing(database: Database, store: Store) -> None:
    _filled(store, [50, 200, 300])
    Events(database).complaint(300)
    looked = old.look(database, DAYS)
    assert (looked.events, looked.kept) == (2, 1)
    assert _left(database) == 4
    assert _one(database, "SELECT count(*) FROM public.ses_feedback_removals") == 0


@pytest.mark.parametrize("days", [1, 29])
def test_fewer_days_than_sqs_could_bring_a_message_again_are_refused(
    database: Database, days: int
) -> None:
    with pytest.raises(DatabaseRefused, match="too few"):
        old.remove(database, days, actor=WHO)


def test_days_must_exceed_those_that_the_rule_of_transient_bounces_looks_back(
    database: Database,
) -> None:
    database.execute("SET dpp_feedback.transient_days = '120'")
    with pytest.raises(DatabaseRefused, match="Choose 121"):
        old.remove(database, DAYS, actor=WHO)


def test_nothing_is_removed_by_a_clock_that_is_wrong(database: Database, store: Store) -> None:
    _filled(store, [200])
    with pytest.raises(DatabaseRefused, match="clock"):
        old.remove(database, DAYS, actor=WHO, now=datetime.now(UTC) + timedelta(days=365))
    assert _left(database) == 1


def test_resolved_rejects_and_old_acts_go_and_what_waits_stays(database: Database) -> None:
    for name, resolution, age in (
        ("old", "discarded", 200),
        ("young", "discarded", 10),
        ("waits", "waiting", 200),
    ):
        database.execute(
            """
            INSERT INTO public.ses_feedback_rejects (message_id, body_sha256, body_bytes, reason,
              detail, queue, sent_at, parser_version, resolution, resolved_at)
            VALUES (%(name)s, repeat('0', 64), 1, 'not_json', 'd', 'q', now(), 1, %(as)s,
              CASE WHEN %(as)s <> 'waiting' THEN now() - %(age)s * '1 day'::interval END)
            """,
            {"name": name, "as": resolution, "age": age},
        )
    for age in (10, 200):
        database.execute(
            """
            INSERT INTO public.ses_feedback_dlq_actions
              (action, actor, selection, dry_run, parser_version, started_at)
            VALUES ('redrive', 'a', '{}', false, 1, now() - %s * '1 day'::interval)
            """,
            [age],
        )
    removed = old.remove(database, DAYS, actor=WHO)
    assert (removed.rejects, removed.dlq_actions) == (1, 1)
    left = database.execute("SELECT message_id FROM public.ses_feedback_rejects ORDER BY 1")
    assert left.fetchall() == [("waits",), ("young",)]


def test_the_record_says_who_when_and_how_many(database: Database, store: Store) -> None:
    _filled(store, [200])
    old.remove(database, DAYS, actor=WHO, run_id="a-run")
    row = database.execute(
        "SELECT kind, actor, run_id, counts, error, finished_at >= started_at "
        "FROM public.ses_feedback_removals"
    ).fetchone()
    counts = {"events": 1, "kept": 0, "rejects": 0, "dlq_actions": 0, "bodies": 0}
    assert row == ("retention", WHO, "a-run", counts, None, True)


# Counters


def test_counters_stay_and_a_recount_leaves_them_alone(database: Database, store: Store) -> None:
    _filled(store, [50, DAYS - 1, DAYS + 1.1, 300, 300])
    Events(database).complaint(300)  # is kept, so the day still has an event; and is not counted
    before = _counters(database)
    old.remove(database, DAYS, actor=WHO)
    today = datetime.now(UTC).date()
    assert store.daily_counts.mend(today - timedelta(days=400), today) == []
    assert _counters(database) == before
    assert store.daily_counts.floor() == today - timedelta(days=DAYS)


def test_from_the_floor_on_days_are_recounted(database: Database, store: Store) -> None:
    _filled(store, [DAYS - 1, 300])
    old.remove(database, DAYS, actor=WHO)
    database.execute("UPDATE public.ses_feedback_daily_counts SET count = 7")
    database.execute("UPDATE public.ses_feedback_daily_totals SET count = 7")
    today = datetime.now(UTC).date()
    (mended,) = store.daily_counts.mend(today - timedelta(days=400), today)
    assert mended.day >= today - timedelta(days=DAYS)
    assert mended.surplus == 6


def test_a_retention_that_died_before_its_first_batch_has_set_the_floor(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _filled(store, [300])
    monkeypatch.setattr(old, "_remove_events", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        old.remove(database, DAYS, actor=WHO)
    database.execute("DELETE FROM public.ses_feedback_events")  # by a batch that came so far
    assert store.daily_counts.floor() is not None
    said = _one(database, "SELECT error FROM public.ses_feedback_removals")
    assert said.startswith("It ended early: ZeroDivisionError")


def test_an_event_that_comes_late_counts_once_goes_the_next_time_and_stays_counted(
    database: Database, store: Store
) -> None:
    _filled(store, [300])
    old.remove(database, DAYS, actor=WHO)
    _filled(store, [300, 300])  # the first of them is the same again: nobody can know that
    assert old.remove(database, DAYS, actor=WHO).events == 2
    assert sum(row[-1] for row in _counters(database)) == 3


# Kills and company


def test_killed_between_two_batches_it_goes_on_from_there(
    database: Database, database_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(old, "BATCH", 10)
    _filled(store, [200 + number / 100 for number in range(40)])
    with closing(connect(database_url, "killed")) as killed:

        def kill(removed: int) -> None:
            if removed == 20:
                database.execute("SELECT pg_terminate_backend(%s)", [killed.info.backend_pid])

        with pytest.raises(Exception, match="fails"):
            old.remove(killed, DAYS, actor=WHO, progress=kill)
    assert _left(database) == 20
    unfinished = "SELECT count(*) FROM public.ses_feedback_removals WHERE finished_at IS NULL"
    assert database.execute(unfinished).fetchone() == (1,)
    assert old.remove(database, DAYS, actor=WHO).events == 20
    assert sum(row[-1] for row in _counters(database)) == 40


def test_two_at_once_remove_each_row_once_while_drains_store_and_erase(
    database: Database, database_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setattr(old, "BATCH", 50)
    _filled(store, [200 + number / 1000 for number in range(1000)])

    def remove(_: int) -> int:
        with closing(connect(database_url, "retention")) as connection:
            return old.remove(connection, DAYS, actor=WHO).events

    def drain(start: int) -> int:
        with Store.connect(database_url) as own:
            fresh = [
                event(number, event_at=datetime.now(UTC) - timedelta(days=number % 300))
                for number in range(start, start + 300)
            ]
            return len(own.insert(fresh).new)

    with ThreadPoolExecutor(4) as pool:
        removing = [pool.submit(remove, number) for number in range(2)]
        draining = [pool.submit(drain, 10_000 + 300 * number) for number in range(2)]
        assert sum(each.result() for each in draining) == 600
        assert sum(each.result() for each in removing) >= 1000
    old.remove(database, DAYS, actor=WHO)
    assert sum(row[-1] for row in _counters(database)) == 1600
    before = datetime.now(UTC) - timedelta(days=DAYS + 1)
    kept = database.execute(
        "SELECT count(*) FROM public.ses_feedback_events WHERE event_at < %s", [before]
    )
    assert kept.fetchone() == (0,)


# The suppression list


def test_what_the_list_rests_on_stays_and_goes_when_it_has_ended(
    database: Database, events: Events
) -> None:
    events.permanent(300)
    events.complaint(250, to="zoe@example.org", complaint_feedback_type="abuse")
    events.transient(300, 299, 298, 297, 296)
    before = events.listed()
    removed = old.remove(database, DAYS, actor=WHO)
    assert (removed.events, removed.kept) == (0, 7)
    assert events.listed() == before
    events.delivery(1)  # JANE comes back
    assert old.remove(database, DAYS, actor=WHO).events == 6
    assert [each.recipient for each in events.listed()] == ["zoe@example.org"]


def test_a_delivery_stays_that_outweighs_what_is_kept_for_another_reason(
    database: Database, events: Events
) -> None:
    events.complaint(390, complaint_feedback_type="abuse")
    events.permanent(300)
    events.delivery(250)
    events.delivery(200)
    before = events.listed()
    assert [each["reason"] for each in before[0].evidence] == ["complaint"]
    removed = old.remove(database, DAYS, actor=WHO)
    assert (removed.events, removed.kept) == (1, 3)  # the earlier delivery says nothing more
    assert events.listed() == before


def test_a_delivery_stays_while_a_bounce_is_there_that_it_outweighs(
    database: Database, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    events.permanent(300)
    events.delivery(200)
    # Somebody else holds the bounce, so that it stays for now.
    monkeypatch.setattr(old, "_DELETE", f"{old._DELETE} AND notification_type <> 'Bounce'")
    assert old.remove(database, DAYS, actor=WHO).events == 0
    assert events.listed() == []
    monkeypatch.undo()
    assert old.remove(database, DAYS, actor=WHO).events == 2


SAID: dict[str, tuple[str, str | None, str | None, dict[str, str]]] = {
    "Permanent": ("Bounce", "Permanent", "General", DSN),
    "Suppressed": ("Bounce", "Permanent", "Suppressed", DSN),
    "Unsubscribed": ("Bounce", "Permanent", "UnsubscribedRecipient", DSN),
    "Transient": ("Bounce", "Transient", "MailboxFull", DSN),
    "Reply": ("Bounce", "Transient", "General", {}),
    "Complaint": ("Complaint", None, None, {"complaint_feedback_type": "abuse"}),
    "NotSpam": ("Complaint", None, None, {"complaint_feedback_type": "not-spam"}),
    "Echo": ("Bounce", "Permanent", "OnAccountSuppressionList", {}),
    "Delivery": ("Delivery", None, None, {}),
    "Open": ("Open", None, None, {}),
}
Kind = tuple[str, float, int]
_HISTORY = st.lists(
    st.tuples(
        # More of what it is about.
        st.sampled_from([*SAID, *["Delivery"] * 5, *["Permanent"] * 3, *["Complaint"] * 2]),
        # Days ago: long, around the floor and now; and the future, as some clocks have it.
        st.one_of(
            st.floats(DAYS, 400),
            st.integers(DAYS, DAYS + 6).map(float),
            st.floats(DAYS - 5, DAYS + 5),
            st.floats(-20, 20),
        ),
        st.integers(0, 9),  # the mail
    ),
    min_size=2,
    max_size=14,
)
# A delivery outweighs the bounce before it, and is the last one that does: the next one bounced.
_LAST_DELIVERY: list[Kind] = [
    ("Complaint", 390, 0),
    ("Permanent", 300, 1),
    ("Delivery", 250, 2),
    ("Delivery", 200, 3),
    ("Transient", 199, 3),
]


def _write(database: Database, who: str, history: list[Kind]) -> None:
    with database.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO public.ses_feedback_events
              (notification_type, ses_message_id, primary_recipient, bounce_type, bounce_sub_type,
               type_data, event_at, dedupe_key)
            VALUES (%s, %s, %s, %s, %s, %s, now() - make_interval(secs => %s), %s)
            """,
            [
                (
                    *(SAID[kind][0], f"{who}-{mail}", who, *SAID[kind][1:3]),
                    *(json.dumps(SAID[kind][3]), round(days * 86400), str(uuid4())),
                )
                for kind, days, mail in history
            ],
        )


def _at_clocks(database: Database, clocks: tuple[int, ...]) -> list[Any]:
    """What the list says now and so many days on: the events are moved back instead."""
    told = []
    for days in clocks:
        with database.transaction(force_rollback=True):
            database.execute(
                "UPDATE public.ses_feedback_events "
                "SET event_at = event_at - make_interval(days => %s)",
                [days],
            )
            told.append(
                database.execute(
                    """
                    SELECT recipient, reason, since, last_event_at, events, evidence, expires_at
                    FROM public.ses_suppressed_recipients ORDER BY recipient
                    """
                ).fetchall()
            )
    return told


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(histories=[_LAST_DELIVERY], batch=1)
@given(histories=st.lists(_HISTORY, min_size=1, max_size=4), batch=st.sampled_from([1, 2, 7, 5000]))
def test_the_list_says_the_same_before_and_after_for_everybody_at_any_clock(
    database: Database, histories: list[list[Kind]], batch: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, database.transaction(force_rollback=True):
        # One transaction, so that now() stands still.
        patch.setattr(old, "BATCH", batch)
        for number, history in enumerate(histories):
            _write(database, f"person{number}@example.org", history)
        clocks = (0, 5, 15, 200)
        before = _at_clocks(database, clocks)
        old.remove(database, DAYS, actor=WHO)
        assert _at_clocks(database, clocks) == before
        left = _left(database)
        assert old.remove(database, DAYS, actor=WHO).events == 0
        # A month on, when some of it has ended, it goes on being the same.
        database.execute(
            "UPDATE public.ses_feedback_events SET event_at = event_at - interval '31 days'"
        )
        later = _at_clocks(database, clocks)
        old.remove(database, DAYS, actor=WHO)
        assert _at_clocks(database, clocks) == later
        assert _left(database) <= left
        # Nobody who is off the list keeps anything old but what the future still may need.
        old_ones = database.execute(
            """
            SELECT count(*) FROM public.ses_feedback_events
            WHERE event_at < now() - %s * '1 day'::interval
              AND primary_recipient NOT IN (SELECT recipient FROM public.ses_suppressed_recipients)
            """,
            [DAYS + 1],
        ).fetchone()
        assert old_ones == (0,)
