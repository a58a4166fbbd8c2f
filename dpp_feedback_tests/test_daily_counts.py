"""The daily counters in a real Postgres: counted once, on the right day, by many at once."""

from __future__ import annotations

import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import astuple, replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.types.json import Json

from dpp_feedback.connection import DatabaseRefused
from dpp_feedback.daily_counts import Difference
from dpp_feedback.feedback.counts import OTHERS, Count
from dpp_feedback.feedback.events import FeedbackEvent
from dpp_feedback.feedback.parser import parse
from dpp_feedback.local.traffic import traffic
from dpp_feedback.migrate import migrate, migrations_directory
from dpp_feedback.store import Store, _probe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    Database = psycopg.Connection[tuple[Any, ...]]

DAY = date(2026, 2, 17)
NOON = datetime(2026, 2, 17, 12, tzinfo=UTC)
AROUND = DAY - timedelta(days=2), DAY + timedelta(days=2)
LONG_AGO, FAR_AHEAD = date(1, 1, 1), date(9999, 12, 31)
COUNTERS = "20261125_create_ses_feedback_daily_counts.sql"


@pytest.fixture
def store(database: Database, database_url: str) -> Iterator[Store]:  # noqa: ARG001 - migrates
    with Store.connect(database_url) as store:
        yield store


def event(number: int, **changes: Any) -> FeedbackEvent:
    delivery = FeedbackEvent(
        notification_type="Delivery",
        ses_message_id=f"0100019c{number:08x}-mail",
        feedback_id=None,
        source="news@example.com",
        primary_recipient=f"person{number}@example.org",
        bounce_type=None,
        bounce_sub_type=None,
        type_data={},
        configuration_set=None,
        event_at=NOON,
        sns_message_id=None,
        dedupe_key=f"0100019c{number:08x}-mail:Delivery",
    )
    return replace(delivery, **changes)


def some_traffic(count: int, seed: int) -> list[FeedbackEvent]:
    """Events of all kinds, each once, around a midnight."""
    events: dict[str, FeedbackEvent] = {}
    midnight = datetime(2026, 2, 17, 0, 20, tzinfo=UTC)
    kinds = ("Bounce", "Complaint", "Delivery", "Send", "Open", "DeliveryDelay")
    for one in traffic(count, seed=seed, at=midnight, poison=0, kinds=kinds):
        outcome = parse(one.body, NOON)
        if isinstance(outcome, tuple):
            events |= {told.dedupe_key: told for told in outcome}
    return list(events.values())


def as_counted(told: FeedbackEvent) -> Count:
    """The same rules as the statement's, told in Python."""
    source = told.source or ""
    name, at, domain = source.rpartition("@")
    automatic = (
        told.bounce_type == "Transient"
        and told.bounce_sub_type == "General"
        and not told.type_data.keys() & {"status", "action", "diagnostic_code"}
    )
    complaint = told.type_data.get("complaint_sub_type") or ""
    return Count(
        day=told.event_at.astimezone(UTC).date(),
        notification_type=told.notification_type,
        bounce_type=told.bounce_type or "",
        bounce_sub_type=told.bounce_sub_type or "",
        complaint_sub_type=complaint if told.notification_type == "Complaint" else "",
        automatic_reply=automatic,
        source=name.partition("+")[0] + at + domain,
        configuration_set=told.configuration_set or "",
        recipient_domain=(told.primary_recipient or "").rpartition("@")[2],
        count=1,
    )


def summed(counts: Sequence[Count]) -> Counter[Count]:
    """Sums by everything but the number."""
    sums: Counter[Count] = Counter()
    for count in counts:
        sums[replace(count, count=0)] += count.count
    return sums


def all_counts(store: Store) -> Counter[Count]:
    return summed(store.daily_counts.largest(LONG_AGO, DAY + timedelta(days=2), top=1_000_000))


def all_totals(store: Store) -> Counter[Count]:
    return summed(store.daily_counts.totals(LONG_AGO, FAR_AHEAD))


def test_every_event_is_counted_once_by_all_that_ses_says_of_it(store: Store) -> None:
    events = some_traffic(3000, seed=1)
    store.insert(events)
    expected = summed([as_counted(told) for told in events])
    assert all_counts(store) == expected
    without = [replace(as_counted(told), recipient_domain="") for told in events]
    assert all_totals(store) == summed(without)
    assert len({count.day for count in expected}) == 2
    assert sum(count.automatic_reply for count in expected) > 0
    assert any(count.complaint_sub_type for count in expected)


def test_a_duplicate_is_not_counted_again(store: Store) -> None:
    events = some_traffic(500, seed=2)
    store.insert(events)
    before = all_counts(store)
    store.insert([*events[:300], event(1)])
    assert all_counts(store) == before + summed([as_counted(event(1))])


def test_an_event_that_comes_twice_in_a_batch_is_counted_once(store: Store) -> None:
    for batch in ([event(1), event(2), event(1)], [event(3)] * 1_500):
        before = all_counts(store)
        new = store.insert(batch).new
        assert new == {each.dedupe_key for each in batch}
        added = [as_counted(each) for each in {each.dedupe_key: each for each in batch}.values()]
        assert all_counts(store) == before + summed(added)


def test_an_event_belongs_to_its_own_day_in_utc_however_late_it_comes(store: Store) -> None:
    last_moment = datetime(2026, 2, 17, 23, 59, 59, 999999, tzinfo=UTC)
    months_ago = datetime(2025, 11, 3, 4, tzinfo=UTC)
    times = [last_moment, last_moment + timedelta(microseconds=1), months_ago, NOON]
    for number, moment in enumerate(times):
        store.insert([event(number, event_at=moment)])
    days = {count.day: number for count, number in all_totals(store).items()}
    assert days == {DAY: 2, date(2026, 2, 18): 1, date(2025, 11, 3): 1}


def test_days_are_in_utc_whatever_the_database_thinks(database: Database, store: Store) -> None:
    name = database.info.dbname
    database.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Seoul'")
    with Store.connect(database.info.dsn) as other:
        other.insert([event(1, event_at=datetime(2026, 2, 17, 23, tzinfo=UTC))])
        assert other.daily_counts.mend(DAY, DAY) == []
    assert {count.day for count in all_totals(store)} == {DAY}


def test_a_label_of_the_sender_makes_no_group_of_its_own(store: Store) -> None:
    sources = [
        "news@example.com",
        "news+1@example.com",
        "news+a+b@example.com",
        '"a+b"@example.com',
    ]
    store.insert([event(number, source=source) for number, source in enumerate(sources)])
    counted = {count.source: number for count, number in all_totals(store).items()}
    assert counted == {"news@example.com": 3, '"a+b"@example.com': 1}


def test_a_variable_return_path_counts_as_its_domain_and_names_no_recipient(store: Store) -> None:
    sources = ["bounce-jane=gmail.com@example.com", "b+x=y.org@example.com", '"a=b"@example.com']
    store.insert([event(number, source=source) for number, source in enumerate(sources)])
    counted = {count.source: number for count, number in all_totals(store).items()}
    assert counted == {"@example.com": 2, '"a=b"@example.com': 1}


def test_an_address_where_none_belongs_is_shown_masked(store: Store) -> None:
    told = event(1, configuration_set="jane@example.com", bounce_sub_type="jane%40example.com")
    store.insert([told])
    (count,) = all_counts(store)
    assert count.configuration_set == "j***@example.com"
    assert count.bounce_sub_type == "j***%40example.com"
    assert count.source == told.source


def test_what_ses_does_not_say_is_counted_as_empty(store: Store) -> None:
    store.insert([event(1, source=None, primary_recipient=None), event(2, primary_recipient="x")])
    counted = {(count.source, count.recipient_domain) for count in all_counts(store)}
    assert counted == {("", ""), ("news@example.com", "")}


def test_the_longest_texts_that_the_parser_lets_through_are_counted(store: Store) -> None:
    wide = chr(0x1D518)  # a letter of four bytes
    longest = event(
        1,
        notification_type=wide * 256,
        bounce_type=wide * 256,
        bounce_sub_type=wide * 256,
        source=wide * 318 + "@x",
        configuration_set=wide * 256,
        primary_recipient="x@" + "".join(chr(0x10000 + number) for number in range(318)),
        type_data={"complaint_sub_type": wide * 10_000},
    )
    complaint = replace(longest, notification_type="Complaint", dedupe_key="complaint")
    inserted = store.insert([longest, complaint])
    assert len(inserted.new) == 2
    assert sum(all_counts(store).values()) == 2
    assert store.daily_counts.mend(*AROUND) == []


def test_drains_at_once_neither_wait_in_a_circle_nor_miss_an_event(
    store: Store, database_url: str
) -> None:
    events = some_traffic(3000, seed=3)

    def drain(seed: int) -> set[str]:
        mine = list(events)
        Random(seed).shuffle(mine)  # noqa: S311 - to be repeated
        new: set[str] = set()
        with Store.connect(database_url) as other:
            for start in range(0, len(mine), 100):
                new |= other.insert(mine[start : start + 100]).new
        return new

    with ThreadPoolExecutor(4) as pool:
        stored = [key for new in pool.map(drain, range(4)) for key in new]
    assert sorted(stored) == sorted(told.dedupe_key for told in events)
    assert all_counts(store) == summed([as_counted(told) for told in events])


def test_counters_that_are_right_are_left_alone(store: Store) -> None:
    store.insert(some_traffic(500, seed=4))
    before = all_counts(store)
    assert store.daily_counts.mend(*AROUND) == []
    assert all_counts(store) == before


@pytest.mark.parametrize("table", ["ses_feedback_daily_counts", "ses_feedback_daily_totals"])
@pytest.mark.parametrize(
    ("damage", "missing", "surplus"),
    [
        ("UPDATE public.{} SET count = count + 3", 0, 3),
        ("DELETE FROM public.{}", 5, 0),
        ("UPDATE public.{} SET source = 'other@example.com'", 5, 5),
    ],
)
def test_counters_that_are_wrong_are_found_told_and_corrected(
    store: Store, database: Database, table: str, damage: str, missing: int, surplus: int
) -> None:
    store.insert([event(number, primary_recipient="a@example.org") for number in range(5)])
    store.insert([event(9, event_at=NOON + timedelta(days=1))])
    right = all_counts(store), all_totals(store)
    database.execute(f"{damage.format(table)} WHERE day = '{DAY}'".encode())
    assert store.daily_counts.mend(DAY, DAY) == [Difference(DAY, missing, surplus)]
    assert (all_counts(store), all_totals(store)) == right
    assert store.daily_counts.mend(*AROUND) == []


def test_days_that_were_not_asked_for_are_not_touched(store: Store, database: Database) -> None:
    store.insert([event(1), event(2, event_at=NOON - timedelta(days=1))])
    database.execute("UPDATE public.ses_feedback_daily_totals SET count = 7")
    store.daily_counts.mend(DAY, DAY)
    assert sorted(all_totals(store).values()) == [1, 7]


def test_mending_while_drains_go_on_loses_and_doubles_nothing(
    store: Store, database_url: str
) -> None:
    events = some_traffic(2000, seed=5)

    def drain(part: int) -> None:
        with Store.connect(database_url) as other:
            for start in range(part, len(events), 200):
                other.insert(events[start : start + 100])

    def mend(_: int) -> list[Difference]:
        found: list[Difference] = []
        with Store.connect(database_url) as other:
            for _ in range(20):
                found += other.daily_counts.mend(*AROUND)
        return found

    with ThreadPoolExecutor(4) as pool:
        drains = [pool.submit(drain, part) for part in (0, 100)]
        menders = [pool.submit(mend, part) for part in (0, 1)]
        for one in drains:
            one.result()
        assert [one.result() for one in menders] == [[], []]  # no difference is ever seen
    assert all_counts(store) == summed([as_counted(told) for told in events])


def test_two_that_mend_at_once_add_the_difference_once(
    store: Store, database: Database, database_url: str
) -> None:
    store.insert(some_traffic(500, seed=6))
    right = all_counts(store)
    database.execute("UPDATE public.ses_feedback_daily_counts SET count = count + 1")

    def mend(_: int) -> None:
        with Store.connect(database_url) as other:
            other.daily_counts.mend(*AROUND)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(mend, range(4)))
    assert all_counts(store) == right


def test_counts_outlive_events_that_were_removed(store: Store, database: Database) -> None:
    store.insert([event(1), event(2, event_at=NOON - timedelta(days=400))])
    database.execute("DELETE FROM public.ses_feedback_events WHERE event_at < '2026-01-01'")
    long_ago = DAY - timedelta(days=400)
    assert store.daily_counts.mend(long_ago, long_ago) == []
    assert sum(all_totals(store).values()) == 2


def test_small_groups_are_folded_but_for_those_that_bounce(store: Store) -> None:
    events = [
        event(number, primary_recipient=f"x@large{number % 2}.example") for number in range(20)
    ]
    events += [event(100 + n, primary_recipient=f"x@small{n}.example") for n in range(5)]
    bounce = event(
        200,
        notification_type="Bounce",
        bounce_type="Permanent",
        bounce_sub_type="NoEmail",
        primary_recipient="x@small3.example",
        dedupe_key="bounce",
    )
    store.insert([*events, bounce])
    sums: Counter[str] = Counter()
    for count in store.daily_counts.largest(DAY, DAY, top=2):
        sums[count.recipient_domain] += count.count
    assert sums == {"large0.example": 10, "large1.example": 10, "small3.example": 2, OTHERS: 4}


def test_groups_that_are_mailed_no_more_make_room_for_those_that_are(store: Store) -> None:
    retired = [
        event(number, primary_recipient="x@old.example", event_at=NOON - timedelta(days=40))
        for number in range(5)
    ]
    store.insert([*retired, event(9, primary_recipient="x@new.example")])
    counts = store.daily_counts.largest(DAY - timedelta(days=55), DAY, top=1)
    # The one that may bounce most has room too; here it is nobody.
    assert {count.recipient_domain for count in counts} == {"new.example", OTHERS}


def test_domains_are_read_by_name_and_those_that_complained_are_named(store: Store) -> None:
    complaint = event(
        3,
        notification_type="Complaint",
        primary_recipient="x@unhappy.example",
        dedupe_key="complaint",
    )
    store.insert([event(1), event(2, primary_recipient="x@other.example"), complaint])
    counts = store.daily_counts.of_domains(DAY, DAY, ["example.org", "nobody.example"])
    assert {astuple(count)[-2:] for count in counts} == {("example.org", 1)}
    assert store.daily_counts.complaining_domains(DAY, DAY) == {"unhappy.example"}
    assert store.daily_counts.complaining_domains(LONG_AGO, DAY - timedelta(days=1)) == set()


def test_events_from_before_the_counters_are_counted_by_the_same_rules(
    database_url: str, tmp_path: Path
) -> None:
    for file in migrations_directory().glob("*.sql"):
        if file.name < COUNTERS:
            shutil.copy(file, tmp_path)
    migrate(database_url, tmp_path)
    events = some_traffic(1500, seed=7)
    with psycopg.connect(database_url) as old:
        for told in events:
            old.execute(
                """
                INSERT INTO public.ses_feedback_events (notification_type, ses_message_id, source,
                  primary_recipient, bounce_type, bounce_sub_type, type_data, configuration_set,
                  event_at, dedupe_key) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
                """,
                [
                    told.notification_type,
                    told.ses_message_id,
                    told.source,
                    told.primary_recipient,
                    told.bounce_type,
                    told.bounce_sub_type,
                    Json(told.type_data),
                    told.configuration_set,
                    told.event_at,
                    told.dedupe_key,
                ],
            )
    migrate(database_url)
    with psycopg.connect(database_url, autocommit=True) as again:
        again.execute((migrations_directory() / COUNTERS).read_bytes())  # by hand, once more
    with Store.connect(database_url) as store:
        assert all_counts(store) == summed([as_counted(told) for told in events])
        assert store.daily_counts.mend(*AROUND) == []


def test_the_migration_by_hand_adds_what_is_missing_and_nothing_else(
    store: Store, database: Database
) -> None:
    store.insert(some_traffic(500, seed=8))
    right = all_counts(store), all_totals(store)
    file = (migrations_directory() / COUNTERS).read_bytes()
    database.execute("DELETE FROM public.ses_feedback_daily_counts WHERE bounce_type = ''")
    database.execute("UPDATE public.ses_feedback_daily_totals SET count = 1")
    for _ in range(2):
        database.execute(file)
        assert (all_counts(store), all_totals(store)) == right


def test_a_run_waits_for_no_other_run_s_check(store: Store, database_url: str) -> None:
    with closing(psycopg.connect(database_url)) as stuck:
        Store(stuck).insert([_probe()])  # not committed, as a check is until it is taken back
        store.check()


def test_a_row_that_postgres_refuses_is_not_counted(store: Store) -> None:
    store.insert([event(1), event(2, source="bad\x00@example.com"), event(3)])
    assert sum(all_counts(store).values()) == 2


def test_counters_that_are_missing_are_said_with_what_to_do(
    store: Store, database: Database
) -> None:
    database.execute("DROP TABLE public.ses_feedback_daily_totals")
    with pytest.raises(DatabaseRefused, match="Run `dpp-feedback migrate`"):
        store.daily_counts.totals(DAY, DAY)
    with pytest.raises(DatabaseRefused, match="a table is missing"):
        store.check()


def test_a_role_that_may_only_add_and_read_can_count(database: Database, database_url: str) -> None:
    role = f"service_{database.info.dbname}"
    database.execute(f"CREATE ROLE {role} LOGIN".encode())
    tables = (
        "public.ses_feedback_daily_counts, public.ses_feedback_daily_totals, "
        "public.ses_feedback_rejects"  # `check` tries it too
    )
    try:
        database.execute(f"GRANT SELECT, INSERT, UPDATE ON {tables} TO {role}".encode())
        read = "public.ses_feedback_events, public.ses_feedback_removals"
        database.execute(f"GRANT SELECT, INSERT ON {read} TO {role}".encode())
        for table in (*tables.split(", "), *read.split(", ")):
            database.execute(f"CREATE POLICY test ON {table} TO {role} USING (true)".encode())
        with Store.connect(database_url.replace("postgres@", f"{role}@")) as store:
            store.check()
            store.insert([event(1), event(2)])
            store.insert([event(2), event(3)])
            assert sum(all_counts(store).values()) == 3
            assert store.daily_counts.mend(DAY, DAY) == []
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())
