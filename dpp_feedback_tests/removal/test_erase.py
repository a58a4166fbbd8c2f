"""`dpp-feedback erase`: everything about one person goes, counts stay, and it is proven."""

from __future__ import annotations

import hmac
import json
import os
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import make_conninfo

from dpp_feedback.cli import main
from dpp_feedback.connection import connect
from dpp_feedback.daily_counts import COUNTERS
from dpp_feedback.feedback.events import dedupe_key
from dpp_feedback.migrate import migrate
from dpp_feedback.removal import erasure, places
from dpp_feedback.removal.person import Person
from dpp_feedback.removal.search import search
from dpp_feedback.store import Store
from dpp_feedback_tests.runbook import blocks, section
from dpp_feedback_tests.test_daily_counts import event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result
    from mypy_boto3_sqs import SQSClient

    from dpp_feedback.feedback.events import FeedbackEvent

    Database = psycopg.Connection[tuple[Any, ...]]

JANE = "jane@example.org"
KEY = "a key of twenty-four letters"
TABLES = (
    "ses_feedback_events",
    "ses_feedback_daily_counts",
    "ses_feedback_daily_totals",
    "ses_feedback_rejects",
    "ses_feedback_dlq_actions",
    "ses_feedback_removals",
    "ses_suppressed_hashes",
)
AGO = datetime.now(UTC) - timedelta(days=3)
DSN = {"status": "5.1.1", "action": "failed", "diagnostic_code": f"smtp; 550 <{JANE}> unknown"}


@pytest.fixture
def database(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    """A migrated database, whose settings are in the environment; reports go to a folder."""
    monkeypatch.setenv("SES_FEEDBACK_REPORTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    migrate(environment["DATABASE_URL"])
    with closing(psycopg.connect(environment["DATABASE_URL"], autocommit=True)) as connection:
        yield connection


@pytest.fixture
def store(database: Database, environment: dict[str, str]) -> Iterator[Store]:  # noqa: ARG001
    with Store.connect(environment["DATABASE_URL"]) as store:
        yield store


def to(recipient: str | None, number: int, kind: str = "Bounce", **changes: Any) -> FeedbackEvent:
    """An event as the parser makes it: with the hash of its recipient in the key."""
    said = {"type_data": DSN, "bounce_type": "Permanent", "bounce_sub_type": "General"}
    made = event(
        number,
        notification_type=kind,
        primary_recipient=recipient,
        **({"event_at": AGO} | (said if kind == "Bounce" else {}) | changes),
    )
    key = dedupe_key(
        anchor=made.ses_message_id, notification_type=kind, recipient=made.primary_recipient
    )
    return replace(made, dedupe_key=key)


def erase(*options: str, address: str = JANE, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(main, ["erase", address, *options], input=stdin)
    assert JANE not in result.output.lower()
    return result


def told(*options: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(erase("--json", *options).output)
    return said


def everything(database: Database) -> str:
    """All rows of ours, as text."""
    rows = [
        str(row) for table in TABLES for row in database.execute(f"TABLE public.{table}".encode())
    ]
    return "\n".join(rows).lower()


def counters(database: Database) -> list[Any]:
    return [
        database.execute(
            f"TABLE public.ses_feedback_daily_{name} ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9".encode()
        ).fetchall()
        for name in ("counts", "totals")
    ]


def recounted(store: Store) -> list[Any]:
    today = datetime.now(UTC).date()
    return list(store.daily_counts.mend(today - timedelta(days=10), today))


# What goes, and what stays


def test_a_person_goes_and_the_others_stay(database: Database, store: Store) -> None:
    store.insert(
        [
            to(JANE, 1),
            to(JANE, 2, "Delivery", source="bounce+jane=example.org@example.com"),
            to(JANE, 3, "Complaint", feedback_id="0100-jane", type_data={"user_agent": "x"}),
            to("zoe@example.org", 4),
            to("mary.jane@example.org", 5),
        ]
    )
    before = counters(database)
    result = erase()
    assert result.exit_code == 0, result.output
    assert "j***@example.org is erased" in result.output
    assert JANE not in everything(database).replace("mary.jane@", "")
    assert dedupe_key(anchor="", notification_type="", recipient=JANE)[2:] not in everything(
        database
    )
    assert counters(database) == before
    assert recounted(store) == []
    kept = database.execute(
        "SELECT primary_recipient, count(*) FROM public.ses_feedback_events GROUP BY 1 ORDER BY 1"
    )
    assert set(kept) == {("@example.org", 3), ("mary.jane@example.org", 1), ("zoe@example.org", 1)}


def test_of_an_event_stays_what_it_is_counted_by(database: Database, store: Store) -> None:
    reply = to(JANE, 1, bounce_type="Transient", bounce_sub_type="General", type_data={"x": "y"})
    full = to(JANE, 2, bounce_type="Transient", bounce_sub_type="General")
    echo = to(
        JANE, 3, "Complaint", type_data={"complaint_sub_type": "OnAccountSuppressionList", "x": 1}
    )
    store.insert([reply, full, echo])
    before = counters(database)
    assert erase().exit_code == 0
    assert recounted(store) == []
    assert counters(database) == before
    rows = database.execute(
        "SELECT ses_message_id, feedback_id, sns_message_id, type_data, "
        "dedupe_key = 'erased:' || id FROM public.ses_feedback_events"
    ).fetchall()
    assert {row[:3] for row in rows} == {("erased", None, None)}
    assert all(row[4] for row in rows)
    assert sorted(json.dumps(row[3], sort_keys=True) for row in rows) == [
        '{"action": "", "diagnostic_code": "", "status": ""}',
        '{"complaint_sub_type": "OnAccountSuppressionList"}',
        "{}",
    ]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "Pacific/Kiritimati"])
def test_an_event_stays_on_its_day_whatever_the_sessions_time_zone(
    database: Database, store: Store, zone: str
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(database.info.dsn)["dbname"]
    database.execute(f"ALTER DATABASE {name} SET TimeZone = '{zone}'".encode())
    midnight = AGO.replace(hour=0, minute=10)
    store.insert([to(JANE, 1, "Delivery", event_at=midnight)])
    assert erase().exit_code == 0
    assert recounted(store) == []


def test_words_about_somebody_else_lose_the_address_and_nothing_more(
    database: Database, store: Store
) -> None:
    details = {
        "smtp_response": f"250 forwarded to <{JANE.upper()}> by mx",
        "tags": {JANE: ["a", f"u={JANE}"]},
        "link": "https://example.net/?u=jane%40example.org",
        "number": 12345678901234567890,
    }
    store.insert([to("list@example.net", 1, "Delivery", type_data=details)])
    before = counters(database)
    assert told()["counts"]["events_naming"] == 1
    row = database.execute(
        "SELECT primary_recipient, type_data, ses_message_id FROM public.ses_feedback_events"
    ).fetchone()
    assert row is not None
    assert row[0] == "list@example.net"
    assert row[1] == {
        "smtp_response": "250 forwarded to <@example.org> by mx",
        "tags": {"@example.org": ["a", "u=@example.org"]},
        "link": "https://example.net/?u=@example.org",
        "number": 12345678901234567890,
    }
    assert row[2] != "erased"
    assert counters(database) == before


def test_a_person_who_also_sends_goes_from_the_counters(database: Database, store: Store) -> None:
    store.insert(
        [
            to("zoe@example.org", 1, "Delivery", source=JANE),
            to("zoe@example.org", 2, "Delivery", source="jane+label@example.org"),
            to("zoe@example.org", 3, "Delivery", source="news@example.com"),
            to(JANE, 4, "Delivery", source=JANE),
        ]
    )
    total = sum(row[-1] for row in counters(database)[0])
    assert erase().exit_code == 0
    assert JANE not in everything(database)
    assert recounted(store) == []
    assert sum(row[-1] for row in counters(database)[0]) == total == 4
    assert {row[6] for row in counters(database)[1]} == {"@example.org", "news@example.com"}


def test_rejects_and_records_of_acts_lose_the_address(database: Database, store: Store) -> None:
    store.dlq_actions.begin("discard", actor=f"arn:x/{JANE}", selection={"why": JANE}, why=JANE)
    database.execute(
        """
        INSERT INTO public.ses_feedback_rejects (message_id, body_sha256, body_bytes, reason,
          detail, kind, queue, sent_at, parser_version)
        VALUES ('m', repeat('0', 64), 1, 'not_json', %(a)s, %(a)s, 'q', now(), 1)
        """,
        {"a": JANE},
    )
    assert told()["counts"] == {
        "events": 0,
        "events_naming": 0,
        "rejects": 1,
        "bodies": 0,
        "acts": 1,
        "sources": 0,
    }
    assert JANE not in everything(database)
    assert "arn:x/@example.org" in everything(database)


def test_every_table_of_ours_is_searched(database: Database) -> None:
    ours = database.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    names = {name for (name,) in ours}
    assert names == set(TABLES)
    searched = {place.table for place in places.PLACES} | set(COUNTERS)
    searched.add("public.ses_feedback_events")
    # A hash is there to be kept.
    assert searched == {f"public.{name}" for name in names - {"ses_suppressed_hashes"}}


def test_what_stands_where_erasure_does_not_write_is_found_and_told(
    database: Database, store: Store
) -> None:
    store.insert([to("zoe@example.org", 1, "Delivery", configuration_set=JANE)])
    result = erase()
    assert result.exit_code == 1
    assert "public.ses_feedback_events.configuration_set" in result.output
    assert "ses_feedback_daily_counts.configuration_set" in result.output
    error = database.execute("SELECT error FROM public.ses_feedback_removals").fetchone()
    assert error is not None
    assert "search afterwards" in error[0]


def test_a_table_of_several_pages_is_searched_to_its_end(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dpp_feedback.removal.places.PAGE", 3)
    for number in range(10):
        store.insert([to(JANE if number in (0, 2, 3, 9) else "zoe@example.org", number)])
    assert told()["counts"]["events"] == 4
    assert JANE not in everything(database)


# How it is called


def test_nothing_found_ends_with_3_and_leaves_no_record(database: Database, store: Store) -> None:
    store.insert([to("zoe@example.org", 1, "Delivery")])
    assert erase().exit_code == 3
    assert database.execute("SELECT FROM public.ses_feedback_removals").fetchall() == []


def test_a_dry_run_changes_nothing(database: Database, store: Store) -> None:
    store.insert([to(JANE, 1)])
    before = everything(database)
    result = erase("--dry-run")
    assert result.exit_code == 0
    assert "nothing was changed" in result.output
    assert "will not be after the erasure" in result.output
    assert everything(database) == before


def test_the_second_time_there_is_nothing_to_do(store: Store) -> None:
    store.insert([to(JANE, 1)])
    assert [erase().exit_code, erase().exit_code] == [0, 3]


def test_the_address_comes_from_standard_input_in_any_case_with_its_name(store: Store) -> None:
    store.insert([to(JANE, 1)])
    assert erase(address="-", stdin="Jane Doe <Jane@Example.ORG>\n").exit_code == 0


def test_the_record_names_who_erased_and_nobody_who_was(database: Database, store: Store) -> None:
    store.insert([to(JANE, 1)])
    erase()
    row = database.execute("SELECT * FROM public.ses_feedback_removals").fetchone()
    assert row is not None
    assert row[1] == "erasure"
    assert row[4] is not None
    assert "example.org" not in str(row)
    assert row[6] | {"events": 0} == dict.fromkeys(row[6], 0)


@pytest.mark.usefixtures("database")
def test_what_is_no_address_is_refused() -> None:
    result = CliRunner().invoke(main, ["erase", "jane"])
    assert result.exit_code == 1
    assert "jane@example.com" in result.output


# The suppression list, and the hash


def test_an_erased_person_is_not_on_the_list_nor_is_the_domain(store: Store) -> None:
    store.insert([to(JANE, 1)])
    assert told()["suppressed"] == "permanent_bounce"
    assert store.suppression.recipients() == []


def test_a_kept_hash_is_what_python_and_anybody_else_computes(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SES_FEEDBACK_ERASURE_KEY", KEY)
    store.insert([to(JANE, 1)])
    result = erase("--keep-hash")
    assert result.exit_code == 0
    assert "by a hash" in result.output
    row = database.execute("SELECT * FROM public.ses_suppressed_hashes").fetchone()
    assert row is not None
    assert row[0] == hmac.new(KEY.encode(), JANE.encode(), sha256).digest()
    assert row[1] == "permanent_bounce"
    assert row[2] == AGO
    assert store.suppression.hashes() == 1
    again = erase("--forget-hash")
    assert again.exit_code == 0, again.output
    assert store.suppression.hashes() == 0


def test_a_hash_is_kept_only_of_who_is_suppressed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SES_FEEDBACK_ERASURE_KEY", KEY)
    store.insert([to(JANE, 1, "Delivery")])
    assert "no hash is kept" in erase("--keep-hash").output
    assert store.suppression.hashes() == 0


@pytest.mark.parametrize("key", [None, "short"])
def test_without_a_key_nothing_is_changed(
    database: Database, store: Store, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if key:
        monkeypatch.setenv("SES_FEEDBACK_ERASURE_KEY", key)
    store.insert([to(JANE, 1)])
    result = erase("--keep-hash")
    assert result.exit_code == 1
    assert "SES_FEEDBACK_ERASURE_KEY" in result.output
    assert JANE in everything(database)


def test_who_is_called_alike_stays_whole_and_suppressed(database: Database, store: Store) -> None:
    others = ["tom&jane@example.org", "mary=jane@example.org", "a/jane@example.org"]
    store.insert([to(JANE, 1), *(to(other, number) for number, other in enumerate(others, 2))])
    result = erase()
    assert result.exit_code == 0, result.output
    kept = [row[0] for row in database.execute("SELECT recipient FROM ses_suppressed_recipients")]
    assert sorted(kept) == sorted(others)


def test_a_hash_is_kept_of_the_form_that_is_suppressed(
    store: Store, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SES reports a domain in punycode; who erases may write it in letters."""
    monkeypatch.setenv("SES_FEEDBACK_ERASURE_KEY", KEY)
    stored = "jane@xn--bcher-kva.example"
    store.insert([to(stored, 1)])
    assert erase("--keep-hash", address="jane@b\u00fccher.example").exit_code == 0
    row = database.execute("SELECT recipient_hmac FROM ses_suppressed_hashes").fetchone()
    assert row == (hmac.digest(KEY.encode(), stored.encode(), "sha256"),)
    erase("--forget-hash", address="jane@b\u00fccher.example")
    assert database.execute("TABLE public.ses_suppressed_hashes").fetchall() == []


# Outside the tables


def test_the_list_among_the_reports_is_written_anew(store: Store, tmp_path: Path) -> None:
    store.insert([to("zoe@example.org", 1)])
    report = tmp_path / "suppressed-recipients.csv"
    report.write_text(f"recipient,reason\n{JANE},complaint\nzoe@example.org,complaint\n")
    assert told()["report"] is True
    assert JANE not in report.read_text()
    assert "zoe@example.org" in report.read_text()


def test_a_report_that_does_not_name_the_person_is_left_alone(store: Store, tmp_path: Path) -> None:
    store.insert([to(JANE, 1)])
    report = tmp_path / "suppressed-recipients.csv"
    report.write_text("as it was")
    assert erase().exit_code == 0
    assert report.read_text() == "as it was"


def test_a_dead_letter_that_names_the_person_keeps_the_proof_open(
    store: Store, sqs: SQSClient, environment: dict[str, str]
) -> None:
    store.insert([to(JANE, 1)])
    body = json.dumps({"Message": json.dumps({"to": JANE})})
    sqs.send_message(QueueUrl=environment["SQS_DLQ_URL"], MessageBody=body)
    sqs.send_message(QueueUrl=environment["SQS_DLQ_URL"], MessageBody="zoe@example.org")
    result = erase()
    assert result.exit_code == 1
    assert "1 messages in the dead-letter queue" in result.output


def test_without_a_dead_letter_queue_the_database_is_erased_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SQS_DLQ_URL")
    store.insert([to(JANE, 1)])
    assert told()["dead_letters"] is None


@pytest.mark.usefixtures("database")
def test_kept_bodies_are_decrypted_and_searched(
    crypto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", crypto_url)
    with closing(psycopg.connect(crypto_url, autocommit=True)) as crypto:
        crypto.execute("CREATE EXTENSION pgcrypto")
        for name, body in (("jane", f"<{JANE}>"), ("zoe", "<zoe@example.org>")):
            crypto.execute(
                """
                INSERT INTO public.ses_feedback_rejects (message_id, body_sha256, body_bytes,
                  reason, detail, queue, sent_at, parser_version, body, body_kept_until)
                VALUES (%s, repeat('0', 64), 1, 'not_json', 'd', 'q', now(), 1,
                  pgp_sym_encrypt_bytea(%s, %s), now() + interval '30 days')
                """,
                [name, body.encode(), KEY],
            )
        without_key = erase()
        assert without_key.exit_code == 1
        assert "2 kept bodies" in without_key.output
        assert "SES_FEEDBACK_REJECT_KEY" in without_key.output
        monkeypatch.setenv("SES_FEEDBACK_REJECT_KEY", KEY)
        assert told()["counts"]["bodies"] == 1
        left = crypto.execute(
            "SELECT message_id FROM public.ses_feedback_rejects WHERE body IS NOT NULL"
        )
        assert left.fetchall() == [("zoe",)]


# Kills, and drains meanwhile


def test_killed_before_its_end_it_has_changed_nothing_and_the_next_completes_it(
    database: Database,
    store: Store,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.insert([to(JANE, 1), to(JANE, 2, "Delivery", source=JANE)])
    before = everything(database)
    person = Person(JANE)
    with closing(connect(environment["DATABASE_URL"], "killed")) as killed:
        found = search(killed, person, None)

        def kill(*_: object) -> None:
            database.execute("SELECT pg_terminate_backend(%s)", [killed.info.backend_pid])

        monkeypatch.setattr(erasure, "_take_out_of_counters", kill)
        with pytest.raises(Exception, match="fails"):
            erasure.erase(killed, person, found, actor="tests")
    monkeypatch.undo()
    assert set(before.splitlines()) < set(everything(database).splitlines())
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert erase().exit_code == 0
    assert JANE not in everything(database)


def test_what_a_drain_stores_between_erasing_and_searching_goes_as_well(
    database: Database, store: Store, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.insert([to(JANE, 1)])
    late = [to(JANE, 2)]

    def searching(*arguments: Any) -> Any:
        store.insert([late.pop()] if late else [])
        return search(*arguments)

    monkeypatch.setattr(erasure, "search", searching)
    person = Person(JANE)
    with closing(connect(environment["DATABASE_URL"], "erase")) as connection:
        done = erasure.erase(connection, person, search(connection, person, None), actor="tests")
    assert done.proven
    assert done.counts["events"] == 2
    assert JANE not in everything(database)
    assert recounted(store) == []


def test_a_small_domain_is_told(store: Store) -> None:
    store.insert([to(JANE, 1), to("zoe@example.org", 2)])
    assert "which has 1 other" in erase().output


def test_two_erasures_at_once_do_no_harm(database: Database, store: Store) -> None:
    from concurrent.futures import ThreadPoolExecutor

    both = {"smtp_response": f"{JANE} and zoe@example.org"}
    store.insert([to("list@example.net", n, "Delivery", type_data=both) for n in range(20)])
    url = os.environ["DATABASE_URL"]

    def take_out(address: str) -> bool:
        person = Person(address)
        with closing(connect(url, "erase")) as connection:
            found = search(connection, person, None)
            return erasure.erase(connection, person, found, actor="tests").proven

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(take_out, [JANE, "zoe@example.org"]))
    assert JANE not in everything(database)
    assert "zoe@" not in everything(database)


# What the runbook says to paste


def _pasted(piece: str, **values: str) -> str:
    (block,) = [
        each for each in blocks(section(title="Retention and erasure")) if piece in each.text
    ]
    return block.filled(values)


def test_a_domain_that_names_a_person_can_be_counted_as_none(
    database: Database, store: Store
) -> None:
    store.insert([to(JANE, 1), to(None, 2, "Delivery"), to(JANE, 3, "Delivery")])
    assert erase().exit_code == 0
    database.execute(_pasted("with gone as", domain="example.org").encode())
    assert "example.org" not in everything(database)
    assert recounted(store) == []
    assert sum(row[-1] for row in counters(database)[0]) == 3


def test_who_asks_what_is_stored_gets_it(database: Database, store: Store) -> None:
    store.insert([to(JANE, 1), to("zoe@example.org", 2)])
    events, listed = _pasted("select * from", address="Jane@example.org").strip(";").split(";")
    assert len(database.execute(events.encode()).fetchall()) == 1
    assert len(database.execute(listed.encode()).fetchall()) == 1


# With the rights of a maintainer alone


def test_a_maintainer_may_do_all_of_it(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SES_FEEDBACK_ERASURE_KEY", KEY)
    name = f"maintainer_{uuid4().hex}"
    database.execute(f"CREATE ROLE {name} LOGIN IN ROLE ses_feedback_maintainer".encode())
    try:
        store.insert([to(JANE, 1), to("zoe@example.org", 2, "Delivery", source=JANE)])
        store.insert([to("mia@example.org", 3, "Delivery", event_at=AGO - timedelta(days=500))])
        store.dlq_actions.begin("discard", actor=JANE, selection={}, why=JANE)
        monkeypatch.setenv("DATABASE_URL", make_conninfo(os.environ["DATABASE_URL"], user=name))
        removed = CliRunner().invoke(main, ["retention"])
        assert removed.exit_code == 0, removed.output
        result = erase("--keep-hash")
        assert result.exit_code == 0, result.output
        assert JANE not in everything(database)
        assert recounted(store) == []
    finally:
        database.execute(f"DROP ROLE {name}".encode())
