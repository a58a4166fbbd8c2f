"""Events into a real Postgres: once each, batch by batch, whatever a row holds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from dpp_feedback.connection import DatabaseRefused, DatabaseUnavailable
from dpp_feedback.feedback.events import FeedbackEvent
from dpp_feedback.migrate import migrate
from dpp_feedback.store import Inserted, Store

if TYPE_CHECKING:
    from dpp_feedback.local.stack import Stack

    Database = psycopg.Connection[tuple[Any, ...]]

TABLES = (
    "public.ses_feedback_events",
    "public.ses_feedback_daily_counts",
    "public.ses_feedback_daily_totals",
    "public.ses_feedback_rejects",
)
START = datetime(2026, 2, 17, 8, 30, tzinfo=UTC)


def _event(number: int, **changes: Any) -> FeedbackEvent:
    event = FeedbackEvent(
        notification_type="Bounce",
        ses_message_id=f"0100019c{number:08x}-mail",
        feedback_id=f"0100019c{number:08x}-feedback",
        source="news@example.com",
        primary_recipient=f"person{number}@example.org",
        bounce_type="Permanent",
        bounce_sub_type="General",
        type_data={
            "bounce_type": "Permanent",
            "diagnostic_code": "smtp; 550 \u2028 'user' \\u unknown",
        },
        configuration_set=None,
        event_at=START + timedelta(milliseconds=number),
        sns_message_id=None,
        dedupe_key=f"0100019c{number:08x}-feedback:Bounce:{number:016x}",
    )
    return replace(event, **changes)


def _count(database: Database) -> int:
    row = database.execute("SELECT count(*) FROM public.ses_feedback_events").fetchone()
    assert row
    return int(row[0])


def test_a_table_that_stays_locked_is_a_fault_that_passes(
    database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dpp_feedback.store.LOCK_TIMEOUT", "SET LOCAL lock_timeout = '50ms'")
    with Store.connect(database_url) as store:
        with database.transaction():
            database.execute("LOCK TABLE public.ses_feedback_events")
            for rehearse in (True, False):
                with pytest.raises(DatabaseUnavailable, match="waited too long for a lock"):
                    store.insert([_event(1)], rehearse=rehearse)
        assert len(store.insert([_event(1)]).new) == 1
    assert _count(database) == 1


def test_an_event_is_stored_as_it_is(database: Database, database_url: str) -> None:
    event = _event(1)
    with Store.connect(database_url) as store:
        assert store.insert([event]).new == {event.dedupe_key}
    cursor = database.execute("SELECT * FROM public.ses_feedback_events")
    row = cursor.fetchone()
    assert row
    assert cursor.description
    stored = dict(zip([column.name for column in cursor.description], row, strict=True))
    assert stored.pop("id").version == 7
    assert abs(stored.pop("received_at") - datetime.now(UTC)) < timedelta(minutes=5)
    assert FeedbackEvent(**stored) == event


def test_the_seed_query_shows_the_bounce_type_as_json(
    database: Database, database_url: str
) -> None:
    with Store.connect(database_url) as store:
        store.insert([_event(1)])
    row = database.execute(
        "SELECT id, notification_type, source, primary_recipient, "
        "type_data->'bounce_type' AS bounce_type "
        "FROM public.ses_feedback_events ORDER BY received_at DESC"
    ).fetchone()
    assert row
    assert row[1:] == ("Bounce", "news@example.com", "person1@example.org", "Permanent")


def test_an_event_counts_once_however_often_it_comes(database: Database, database_url: str) -> None:
    events = [_event(number) for number in range(2500)]
    with Store.connect(database_url) as store:
        assert len(store.insert([*events, *events[:100]]).new) == 2500
        again = store.insert(events)
    assert again.new == set()
    assert again.refused == {}
    assert _count(database) == 2500


def _dumped(database: Database) -> list[Any]:
    """All rows of all tables, as text."""
    statement = " UNION ALL ".join(f"SELECT t::text FROM {table} t" for table in TABLES)  # noqa: S608
    return sorted(database.execute(statement.encode()))


def test_a_rehearsal_says_what_a_real_insert_says_and_leaves_no_trace(
    database: Database, database_url: str
) -> None:
    present = [_event(number) for number in range(0, 3000, 7)]
    events = [_event(number) for number in range(2500)]
    events += [replace(event, sns_message_id="again") for event in events[990:1010]]
    odd: dict[int, dict[str, Any]] = {
        3: {"source": "a\x00b"},
        998: {"type_data": ["no object"]},
        1000: {"notification_type": None},
        1002: {"source": "x@example.com\x00"},  # this and the two before come again, and good
        2200: {"dedupe_key": token_hex(8000)},
    }
    for number, changes in odd.items():
        events[number] = replace(events[number], **changes)
    with Store.connect(database_url) as store:
        store.insert(present)
        before = _dumped(database)
        rehearsed = store.insert(events, rehearse=True)
        assert _dumped(database) == before
        assert store.insert(events, rehearse=True) == rehearsed
        real = store.insert(events)
    assert rehearsed == real
    assert {events[number].dedupe_key for number in (998, 1000, 1002)} < real.new
    assert real.refused.keys() == {events[3].dedupe_key, events[2200].dedupe_key}
    assert _count(database) == len(present) + len(real.new)


def test_a_rehearsal_finds_what_is_refused_at_the_commit(
    database: Database, database_url: str
) -> None:
    database.execute("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN
             IF NEW.ses_message_id LIKE '%00000003-mail' THEN RAISE 'no'; END IF;
             RETURN NULL;
           END $$;
        CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON public.ses_feedback_events
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()
    """)
    events = [_event(number) for number in range(10)]
    with Store.connect(database_url) as store:
        rehearsed = store.insert(events, rehearse=True)
        assert rehearsed.refused == {events[3].dedupe_key: "RaiseException (P0001)"}
        assert store.insert(events) == rehearsed


def test_two_drains_of_the_same_events_store_each_once_and_do_not_deadlock(
    database: Database, database_url: str
) -> None:
    events = [_event(number) for number in range(5000)]

    def drain(order: int) -> set[str]:
        with Store.connect(database_url) as store:
            return store.insert(events[::order]).new

    with ThreadPoolExecutor() as pool:
        one, other = pool.map(drain, [1, -1])
    assert len(one) + len(other) == 5000
    assert one.isdisjoint(other)
    assert _count(database) == 5000


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"type_data": ["no object"]}, "CheckViolation"),
        ({"source": "a\x00b"}, "CharacterNotInRepertoire (22021)"),
        ({"dedupe_key": token_hex(8000)}, "ProgramLimitExceeded (54000)"),
        ({"notification_type": None}, "NotNullViolation (23502, notification_type)"),
    ],
)
def test_a_row_that_postgres_refuses_stays_alone(
    database: Database, database_url: str, changes: dict[str, Any], why: str
) -> None:
    events = [_event(number) for number in range(1500)]
    events[777] = replace(events[777], **changes)
    with Store.connect(database_url) as store:
        inserted = store.insert(events)
    assert list(inserted.refused) == [events[777].dedupe_key]
    assert inserted.refused[events[777].dedupe_key].startswith(why)
    assert "person777" not in inserted.refused[events[777].dedupe_key]
    assert len(inserted.new) == _count(database) == 1499


def test_a_trigger_that_refuses_a_row_refuses_only_that_row(
    database: Database, database_url: str
) -> None:
    database.execute("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN
             IF NEW.ses_message_id LIKE '%00000003-mail' THEN RAISE 'no'; END IF;
             RETURN NEW;
           END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON public.ses_feedback_events
        FOR EACH ROW EXECUTE FUNCTION refuse()
    """)
    with Store.connect(database_url) as store:
        inserted = store.insert([_event(number) for number in range(10)])
    assert list(inserted.refused.values()) == ["RaiseException (P0001)"]
    assert len(inserted.new) == 9


def test_the_check_leaves_nothing_behind(database: Database, database_url: str) -> None:
    with Store.connect(database_url) as store:
        store.check()
        assert _dumped(database) == []
        assert store.insert([_event(1)]).new


def test_the_check_names_a_missing_table(database_url: str) -> None:
    with (
        Store.connect(database_url) as store,
        pytest.raises(DatabaseRefused, match="dpp-feedback migrate"),
    ):
        store.check()


@pytest.mark.parametrize(
    ("damage", "error", "said"),
    [
        ("DROP COLUMN sns_message_id", DatabaseRefused, "is not of this version"),
        ("RENAME TO elsewhere", DatabaseRefused, "a table is missing in the database"),
        (
            "ALTER COLUMN dedupe_key TYPE varchar(3)",
            DatabaseRefused,
            r"StringDataRightTruncation \(22001\)\. A column is too narrow: `dpp-feedback doctor`",
        ),
    ],
)
def test_the_check_says_what_is_wrong_with_the_table(
    database: Database, database_url: str, damage: str, error: type[Exception], said: str
) -> None:
    database.execute(f"ALTER TABLE public.ses_feedback_events {damage}")
    with Store.connect(database_url) as store, pytest.raises(error, match=said):
        store.check()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            "ALTER TABLE public.ses_feedback_rejects RENAME TO elsewhere",
            "ses_feedback_rejects fails: a table is missing .* `dpp-feedback migrate`",
        ),
        (
            "ALTER TABLE public.ses_feedback_rejects DROP COLUMN queue",
            "ses_feedback_rejects fails: the database .* `dpp-feedback migrate`",
        ),
        (
            "CREATE RULE swallow AS ON INSERT TO public.ses_feedback_rejects DO INSTEAD NOTHING",
            "ses_feedback_rejects takes rows and keeps none",
        ),
        (
            """
                CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RETURN NULL; END $$;
                CREATE TRIGGER swallow BEFORE INSERT ON public.ses_feedback_rejects
                FOR EACH ROW EXECUTE FUNCTION swallow();
            """,
            "ses_feedback_rejects takes rows and keeps none",
        ),
    ],
)
def test_the_check_says_what_is_wrong_with_the_rejects(
    database: Database, database_url: str, damage: str, said: str
) -> None:
    database.execute(damage.encode())
    with Store.connect(database_url) as store, pytest.raises(DatabaseRefused, match=said):
        store.check()


def test_a_read_only_database_is_a_fault_that_may_pass(
    database: Database, database_url: str
) -> None:
    database.execute(
        f"ALTER DATABASE {database.info.dbname} SET default_transaction_read_only = on"
    )
    with (
        Store.connect(database_url) as store,
        pytest.raises(DatabaseUnavailable, match="read-only"),
    ):
        store.check()


def test_a_login_without_rights_is_named(database: Database, database_url: str) -> None:
    role = f"reader_{database.info.dbname}"
    database.execute(f"CREATE ROLE {role} LOGIN")
    try:
        with (
            Store.connect(database_url.replace("postgres@", f"{role}@")) as store,
            pytest.raises(DatabaseRefused, match="fails: the login in DATABASE_URL may not"),
        ):
            store.check()
    finally:
        database.execute(f"DROP ROLE {role}")


def test_a_connection_that_is_lost_is_a_fault_that_may_pass(
    database: Database, database_url: str
) -> None:
    with Store.connect(database_url) as store:
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'dpp_feedback' AND datname = current_database()"
        )
        with pytest.raises(DatabaseUnavailable, match="fails: AdminShutdown"):
            store.insert([_event(1)])
    assert _count(database) == 0


def test_a_policy_that_refuses_one_row_refuses_only_that_row(
    database: Database, database_url: str
) -> None:
    owner = f"owner_{database.info.dbname}"
    database.execute(f"CREATE ROLE {owner} LOGIN")
    for table in TABLES:
        database.execute(f"""
            ALTER TABLE {table} OWNER TO {owner};
            CREATE POLICY all_may ON {table} USING (true);
        """)
    database.execute("""
        CREATE POLICY not_three ON public.ses_feedback_events AS RESTRICTIVE
          USING (true) WITH CHECK (primary_recipient <> 'person3@example.org');
    """)
    try:
        with Store.connect(database_url.replace("postgres@", f"{owner}@")) as store:
            store.check()
            inserted = store.insert([_event(number) for number in range(10)])
    finally:
        for table in TABLES:
            database.execute(f"ALTER TABLE {table} OWNER TO postgres")
        database.execute(f"DROP OWNED BY {owner}; DROP ROLE {owner}")
    assert list(inserted.refused) == [_event(3).dedupe_key]
    assert len(inserted.new) == 9


def test_a_batch_that_is_too_slow_is_halved(database: Database, database_url: str) -> None:
    database.execute("""
        CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$;
        CREATE TRIGGER dawdle BEFORE INSERT ON public.ses_feedback_events
        FOR EACH ROW EXECUTE FUNCTION dawdle();
    """)
    with Store.connect(f"{database_url}?options=-cstatement_timeout%3D500") as store:
        assert len(store.insert([_event(number) for number in range(40)]).new) == 40


def test_a_trigger_that_swallows_rows_is_found_before_a_message_is_received(
    database: Database, database_url: str
) -> None:
    database.execute("""
        CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER swallow BEFORE INSERT ON public.ses_feedback_events
        FOR EACH ROW EXECUTE FUNCTION swallow();
    """)
    with Store.connect(database_url) as store, pytest.raises(DatabaseRefused, match="keeps none"):
        store.check()


def test_a_run_does_not_wait_for_what_another_is_checking(
    database: Database, database_url: str
) -> None:
    with Store.connect(database_url) as one, Store.connect(database_url) as other:
        one._connection.execute("BEGIN")
        one.check()
        other.check()
    assert _count(database) == 0


def test_an_insert_that_failed_goes_on_from_where_it_was(
    database: Database, database_url: str
) -> None:
    database.execute("""
        CREATE SEQUENCE attempts;
        CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN
            IF nextval('attempts') = 1500 THEN RAISE 'no' USING ERRCODE = 'admin_shutdown'; END IF;
            RETURN NEW;
          END $$;
        CREATE TRIGGER fail_once BEFORE INSERT ON public.ses_feedback_events
        FOR EACH ROW EXECUTE FUNCTION fail_once();
    """)
    events = [_event(number) for number in range(2500)]
    inserted = Inserted()
    with Store.connect(database_url) as store:
        with pytest.raises(DatabaseUnavailable):
            store.insert(events, inserted)
        assert len(inserted.new) == 1000
        store.insert(events, inserted)
    assert len(inserted.new) == _count(database) == 2500


def test_a_database_that_cannot_hold_a_letter_refuses_only_its_row(
    stack: Stack, database_url: str
) -> None:
    name = f"latin_{uuid4().hex}"
    with psycopg.connect(stack.postgres.url("postgres"), autocommit=True) as server:
        server.execute(
            f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' "
            "TEMPLATE template0"
        )
    url = stack.postgres.url(name)
    try:
        migrate(url)
        with Store.connect(url) as store:
            good = _event(1, type_data={})
            bad = _event(2, type_data={}, primary_recipient="\u97d3@example.org")
            inserted = store.insert([good, bad])
        assert len(inserted.new) == 1
        assert list(inserted.refused.values()) == ["UntranslatableCharacter (22P05)"]
    finally:
        with psycopg.connect(database_url, autocommit=True) as server:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_rehearsal_sees_its_own_earlier_rows(database: Database, database_url: str) -> None:
    """Else a constraint over several rows refuses in the real run what the rehearsal let pass."""
    database.execute("CREATE UNIQUE INDEX ON public.ses_feedback_events (ses_message_id)")
    events = [_event(number, ses_message_id="one mail") for number in range(1500)]
    with Store.connect(database_url) as store:
        rehearsed = store.insert(events, rehearse=True)
        real = store.insert(events)
    assert len(real.new) == 1
    assert (rehearsed.new, rehearsed.refused) == (real.new, real.refused)


def test_an_event_that_is_there_is_not_refused(database: Database, database_url: str) -> None:
    """One event may come in two messages, of which Postgres takes one."""
    database.execute("ALTER TABLE public.ses_feedback_events ALTER sns_message_id TYPE varchar(5)")
    good, bad = _event(1), _event(1, sns_message_id="too long")
    with Store.connect(database_url) as store:
        for rehearse in (True, False):
            both = store.insert([bad, good], rehearse=rehearse)
            assert (both.new, both.refused) == ({good.dedupe_key}, {})
        later = store.insert([bad])
        assert (later.new, later.refused) == (set(), {})


def test_what_a_trigger_names_as_a_constraint_is_masked(
    database: Database, database_url: str
) -> None:
    database.execute("""
        CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF NEW.primary_recipient LIKE 'person%' THEN
            RAISE 'no' USING constraint = NEW.primary_recipient;
          END IF;
          RETURN NEW;
        END $$;
        CREATE TRIGGER tell BEFORE INSERT ON public.ses_feedback_events
          FOR EACH ROW EXECUTE FUNCTION tell();
    """)
    with Store.connect(database_url) as store:
        (said,) = store.insert([_event(1)]).refused.values()
    assert said == "RaiseException (P0001, p***@example.org)"
