"""Who must not be mailed: each rule of the view, on a real PostgreSQL, and the comparison with SES.

Events are written as the product stores them; times are relative to now, since the view expires.
"""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors

from dpp_feedback.connection import DatabaseRefused
from dpp_feedback.migrate import migrate, migrations_directory
from dpp_feedback.store import Store
from dpp_feedback.suppression import Reason, Suppressed, Suppression, compare

if TYPE_CHECKING:
    from collections.abc import Iterator

    Database = psycopg.Connection[tuple[Any, ...]]

JANE = "jane@example.org"
DSN = {"status": "4.2.2", "action": "failed", "diagnostic_code": "smtp; 452 4.2.2 full of secrets"}
MIGRATION = "20261126_create_ses_suppressed_recipients.sql"


class Events:
    """Adds events, told by how many days ago they happened."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        kind: str,
        days_ago: float,
        to: str = JANE,
        mail: str | None = None,
        bounce_type: str | None = None,
        sub_type: str | None = None,
        **said: str,
    ) -> str:
        """Add one, and return its mail's id."""
        mail = mail or f"mail-{uuid4()}"
        self._database.execute(
            """
            INSERT INTO public.ses_feedback_events
              (notification_type, ses_message_id, source, primary_recipient, bounce_type,
               bounce_sub_type, type_data, event_at, dedupe_key)
            VALUES (%s, %s, 'news@example.com', %s, %s, %s, %s, now() - make_interval(secs => %s),
              %s)
            """,
            [
                *(kind, mail, to, bounce_type, sub_type, json.dumps(said)),
                *(days_ago * 86400, str(uuid4())),
            ],
        )
        return mail

    def delivery(self, days_ago: float, mail: str | None = None) -> str:
        return self.add("Delivery", days_ago, mail=mail, smtp_response="250 ok")

    def permanent(self, days_ago: float, sub_type: str = "General", **more: Any) -> str:
        return self.add(
            "Bounce", days_ago, bounce_type="Permanent", sub_type=sub_type, **more, **DSN
        )

    def transient(self, *days_ago: float, sub_type: str = "MailboxFull", dsn: bool = True) -> None:
        for ago in days_ago:
            said = DSN if dsn else {}
            self.add("Bounce", ago, bounce_type="Transient", sub_type=sub_type, **said)

    def complaint(self, days_ago: float, **said: str) -> str:
        return self.add("Complaint", days_ago, **said)

    def unsubscribed(self, days_ago: float) -> str:
        return self.permanent(days_ago, "UnsubscribedRecipient")

    def listed(self) -> list[Suppressed]:
        return Suppression(self._database).recipients()

    def only(self) -> Suppressed:
        (listed,) = self.listed()
        return listed


@pytest.fixture
def events(database: Database) -> Events:
    return Events(database)


def _days_from_now(moment: datetime | None) -> float:
    assert moment
    return round((moment - datetime.now(UTC)) / timedelta(days=1), 2)


# Permanent bounces


@pytest.mark.parametrize("sub_type", ["General", "NoEmail", "SomethingNew"])
def test_a_permanent_bounce_is_listed_for_ever(events: Events, sub_type: str) -> None:
    mail = events.permanent(400, sub_type)
    listed = events.only()
    assert listed.recipient == JANE
    assert listed.reason is Reason.PERMANENT_BOUNCE
    assert listed.expires_at is None
    assert listed.events == 1
    (evidence,) = listed.evidence
    times = {key: evidence.pop(key) for key in ("first_at", "last_at")}
    assert datetime.fromisoformat(times["first_at"]) == listed.since == listed.last_event_at
    assert evidence == {
        "reason": "permanent_bounce",
        "kind": "Bounce",
        "sub_types": [sub_type],
        "events": 1,
        "last_ses_message_id": mail,
    }


def test_the_echo_of_sess_own_list_is_no_reason(events: Events) -> None:
    events.permanent(1, "OnAccountSuppressionList")
    events.complaint(1, complaint_sub_type="OnAccountSuppressionList")
    assert events.listed() == []


def test_the_echo_does_not_hide_the_bounce_before_it(events: Events) -> None:
    events.permanent(9)
    events.permanent(1, "OnAccountSuppressionList")
    assert events.only().events == 1


def test_the_mailbox_simulator_is_never_listed(events: Events) -> None:
    events.permanent(1, to="bounce+1@simulator.amazonses.com")
    events.complaint(1, to="complaint@simulator.amazonses.com")
    assert events.listed() == []


def test_an_event_without_recipient_lists_nobody(events: Events) -> None:
    events._database.execute(
        """
        INSERT INTO public.ses_feedback_events
          (notification_type, ses_message_id, bounce_type, event_at, dedupe_key)
        VALUES ('Bounce', 'm', 'Permanent', now(), 'k')
        """
    )
    assert events.listed() == []


def test_an_address_comes_back_with_a_delivery_a_day_after_its_last_bounce(events: Events) -> None:
    events.permanent(10)
    events.delivery(8.9)
    assert events.listed() == []


def test_a_delivery_within_a_day_may_be_of_a_mail_from_before_the_bounce(events: Events) -> None:
    events.permanent(10)
    events.delivery(9.1)
    assert events.only().reason is Reason.PERMANENT_BOUNCE


def test_a_delivery_whose_own_mail_bounced_later_does_not_bring_an_address_back(
    events: Events,
) -> None:
    events.permanent(30)
    mail = events.delivery(10)
    events.permanent(9.5, mail=mail)
    listed = events.only()
    assert listed.events == 2
    assert _days_from_now(listed.since) == -30


def test_a_bounce_after_the_address_came_back_lists_it_anew(events: Events) -> None:
    events.permanent(30)
    events.delivery(20)
    events.permanent(5)
    listed = events.only()
    assert listed.events == 1
    assert _days_from_now(listed.since) == -5


def test_a_delivery_in_the_future_brings_nobody_back(events: Events) -> None:
    events.permanent(3)
    events.delivery(-400)
    assert events.only().reason is Reason.PERMANENT_BOUNCE


# Unsubscribed, complaints


def test_an_unsubscription_stays_whatever_is_delivered(events: Events) -> None:
    events.unsubscribed(300)
    events.delivery(1)
    listed = events.only()
    assert listed.reason is Reason.UNSUBSCRIBED
    assert listed.expires_at is None


@pytest.mark.parametrize("said", [{"complaint_feedback_type": "abuse"}, {}])
def test_a_complaint_stays_whatever_is_delivered(events: Events, said: dict[str, str]) -> None:
    events.complaint(300, **said)
    events.delivery(1)
    listed = events.only()
    assert listed.reason is Reason.COMPLAINT
    assert listed.expires_at is None
    assert listed.evidence[0]["sub_types"] == [said.get("complaint_feedback_type", "")]


def test_a_not_spam_report_is_no_complaint_and_takes_none_back(events: Events) -> None:
    events.complaint(5, complaint_feedback_type="not-spam")
    assert events.listed() == []
    events.complaint(9, complaint_feedback_type="abuse")
    assert events.only().events == 1


# SES's global list


def test_a_bounce_of_the_global_list_expires_after_two_weeks(events: Events) -> None:
    events.permanent(13.9, "Suppressed")
    listed = events.only()
    assert listed.reason is Reason.GLOBAL_LIST
    assert _days_from_now(listed.expires_at) == pytest.approx(0.1, abs=0.02)


def test_after_two_weeks_the_global_list_is_no_reason(events: Events) -> None:
    events.permanent(14.1, "Suppressed")
    assert events.listed() == []


def test_a_repeated_bounce_of_the_global_list_begins_two_weeks_anew(events: Events) -> None:
    events.permanent(20, "Suppressed")
    events.permanent(4, "Suppressed")
    listed = events.only()
    assert _days_from_now(listed.expires_at) == 10
    assert _days_from_now(listed.since) == -20


def test_a_delivery_ends_the_global_lists_two_weeks(events: Events) -> None:
    events.permanent(9, "Suppressed")
    events.delivery(2)
    assert events.listed() == []


# Transient bounces


def test_five_transient_bounces_in_two_weeks_are_a_reason_for_two_weeks(events: Events) -> None:
    events.transient(13, 10, 8, 5, 2)
    listed = events.only()
    assert listed.reason is Reason.TRANSIENT_BOUNCES
    assert listed.events == 5
    assert _days_from_now(listed.expires_at) == 12
    assert _days_from_now(listed.since) == -13
    assert listed.evidence[0]["sub_types"] == ["MailboxFull"]


def test_four_are_none(events: Events) -> None:
    events.transient(10, 8, 5, 2)
    assert events.listed() == []


def test_five_in_more_than_two_weeks_are_none(events: Events) -> None:
    events.transient(16.5, 12, 8, 5, 2)
    assert events.listed() == []


def test_two_weeks_after_the_last_they_expire(events: Events) -> None:
    events.transient(18, 17, 16, 15, 14.1)
    assert events.listed() == []


def test_one_more_after_they_expired_begins_two_weeks_anew(events: Events) -> None:
    events.transient(50, 49, 48, 47, 46, 1)
    listed = events.only()
    assert listed.events == 6
    assert _days_from_now(listed.expires_at) == 13


def test_a_delivery_in_between_begins_the_count_anew(events: Events) -> None:
    events.transient(10, 8, 6)
    events.delivery(5)
    events.transient(4, 3)
    assert events.listed() == []


def test_a_delivery_afterwards_ends_it(events: Events) -> None:
    events.transient(10, 8, 6, 4, 3)
    events.delivery(2)
    assert events.listed() == []


def test_a_delivery_whose_own_mail_bounced_is_none(events: Events) -> None:
    events.transient(10, 8, 6, 4)
    mail = events.delivery(3)
    events.add("Bounce", 2.5, mail=mail, bounce_type="Transient", sub_type="MailboxFull", **DSN)
    assert events.only().events == 5


def test_automatic_replies_are_no_bounces(events: Events) -> None:
    events.transient(6, 5, 4, 3, 2, 1, sub_type="General", dsn=False)
    assert events.listed() == []


def test_general_bounces_with_a_delivery_status_are(events: Events) -> None:
    events.transient(6, 5, 4, 3, 2, sub_type="General")
    assert events.only().reason is Reason.TRANSIENT_BOUNCES


def test_an_automatic_reply_does_not_undo_the_delivery_it_answers(events: Events) -> None:
    events.permanent(20)
    mail = events.delivery(5)
    events.add("Bounce", 4.9, mail=mail, bounce_type="Transient", sub_type="General")
    assert events.listed() == []


@pytest.mark.parametrize("sub_type", ["MessageTooLarge", "ContentRejected", "AttachmentRejected"])
def test_what_is_said_about_the_mail_is_not_held_against_the_recipient(
    events: Events, sub_type: str
) -> None:
    events.transient(6, 5, 4, 3, 2, 1, sub_type=sub_type)
    assert events.listed() == []


def test_undetermined_bounces_say_nothing(events: Events) -> None:
    for ago in range(1, 7):
        events.add("Bounce", ago, bounce_type="Undetermined", sub_type="Undetermined", **DSN)
    assert events.listed() == []


def test_number_and_days_are_settings_of_the_database(database_url: str) -> None:
    migrate(database_url)
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    with closing(psycopg.connect(database_url, autocommit=True)) as database:
        Events(database).transient(6, 4.5)
        assert Events(database).listed() == []
        for setting, value in (("bounces", "2"), ("days", "5")):
            change = f"ALTER DATABASE {name} SET dpp_feedback.transient_{setting} = '{value}'"
            database.execute(change.encode())
    with closing(psycopg.connect(database_url, autocommit=True)) as database:
        listed = Events(database).only()
        assert listed.reason is Reason.TRANSIENT_BOUNCES
        assert _days_from_now(listed.expires_at) == 0.5
        database.execute("RESET dpp_feedback.transient_bounces")
        database.execute("SET dpp_feedback.transient_bounces = ''")
        assert Events(database).listed() == []  # the default, not an error


# One row for each recipient


def test_the_strongest_reason_stands_in_front_and_all_are_evidence(events: Events) -> None:
    events.transient(9, 8, 7, 6, 5)
    events.permanent(4, "Suppressed")
    events.permanent(3, "NoEmail")
    events.permanent(3, "General")
    events.unsubscribed(2)
    events.complaint(1, complaint_feedback_type="abuse")
    listed = events.only()
    assert listed.reason is Reason.COMPLAINT
    assert listed.expires_at is None
    assert listed.events == 10
    assert [each["reason"] for each in listed.evidence] == list(Reason)
    assert listed.evidence[2]["sub_types"] == ["General", "NoEmail"]


def test_of_two_reasons_that_expire_the_later_one_counts(events: Events) -> None:
    events.permanent(10, "Suppressed")
    events.transient(6, 5, 4, 3, 2)
    listed = events.only()
    assert listed.reason is Reason.GLOBAL_LIST
    assert _days_from_now(listed.expires_at) == 12


def test_a_reason_that_expired_is_no_evidence(events: Events) -> None:
    events.permanent(20, "Suppressed")
    events.complaint(30)
    assert [each["reason"] for each in events.only().evidence] == ["complaint"]


def test_what_a_mail_server_wrote_stays_out_of_the_evidence(events: Events) -> None:
    events.permanent(1)
    listed = events.only()
    assert "secrets" not in json.dumps(listed.evidence)
    assert JANE not in repr(listed)


def test_the_list_is_by_address(events: Events) -> None:
    for name in ("zoe", "adam", "mia"):
        events.permanent(1, to=f"{name}@example.org")
    assert [each.recipient[:3] for each in events.listed()] == ["ada", "mia", "zoe"]


# For the sending application


def test_an_address_as_somebody_typed_it_is_found_in_lower_case(
    events: Events, database: Database
) -> None:
    events.permanent(1)
    query = "SELECT reason FROM public.ses_suppressed_recipients WHERE recipient = lower(%s)"
    assert database.execute(query, ["Jane@Example.ORG"]).fetchall() == [("permanent_bounce",)]
    assert database.execute(query, ["john@example.org"]).fetchall() == []


def _plan(database: Database, query: str) -> str:
    return "\n".join(line for (line,) in database.execute(f"EXPLAIN {query}".encode()))


@pytest.fixture
def large(database: Database) -> Database:
    """A table of a size at which the planner has a choice."""
    database.execute("""
        INSERT INTO public.ses_feedback_events (notification_type, ses_message_id,
          primary_recipient, bounce_type, bounce_sub_type, event_at, dedupe_key)
        SELECT CASE WHEN i % 50 = 0 THEN 'Bounce' ELSE 'Delivery' END, i::text,
          'person' || i % 7000 || '@example.org',
          CASE WHEN i % 50 = 0 THEN 'Permanent' END, CASE WHEN i % 50 = 0 THEN 'General' END,
          now() - i * interval '1 minute', i::text
        FROM generate_series(1, 30000) AS i
    """)
    database.execute("ANALYZE public.ses_feedback_events")
    return database


LOOK_UP = "SELECT * FROM public.ses_suppressed_recipients WHERE recipient = 'person50@example.org'"


def test_a_look_up_scans_no_table(large: Database) -> None:
    plan = _plan(large, LOOK_UP)
    assert "Seq Scan" not in plan
    assert "ses_feedback_events_suppression_idx" in plan
    assert large.execute(LOOK_UP.encode()).fetchall() != []


def test_the_whole_list_scans_no_table(large: Database) -> None:
    assert "Seq Scan" not in _plan(large, "SELECT * FROM public.ses_suppressed_recipients")


@contextmanager
def _as_service_role(database: Database, attributes: str) -> Iterator[None]:
    """Act as Supabase's role; roles belong to no database, so it may be there, or not."""
    before = database.execute(
        "SELECT rolbypassrls FROM pg_roles WHERE rolname = 'service_role'"
    ).fetchone()
    database.execute(f"{'ALTER' if before else 'CREATE'} ROLE service_role {attributes}".encode())
    try:
        for name in ("20260220_fix_ses_feedback_events_rls_and_guard.sql", MIGRATION):
            database.execute((migrations_directory() / name).read_bytes())
        database.execute("GRANT USAGE ON SCHEMA public TO service_role")
        database.execute("SET ROLE service_role")
        yield
    finally:
        database.execute("RESET ROLE")
        database.execute("DROP OWNED BY service_role")
        if before is None:
            database.execute("DROP ROLE service_role")
        elif before[0]:
            database.execute("ALTER ROLE service_role BYPASSRLS")


@pytest.mark.parametrize("attributes", ["BYPASSRLS", "NOBYPASSRLS"])
def test_service_role_reads_the_view_and_looks_up_by_index(
    large: Database, attributes: str
) -> None:
    Events(large).complaint(1)
    with _as_service_role(large, attributes):
        assert JANE in {each.recipient for each in Events(large).listed()}
        assert "Seq Scan" not in _plan(large, LOOK_UP)
        with pytest.raises(errors.InsufficientPrivilege):
            large.execute("DROP VIEW public.ses_suppressed_recipients")


def test_somebody_else_may_not_read_the_view_nor_the_events_through_it(
    events: Events, database: Database
) -> None:
    events.complaint(1)
    role = f"outsider_{uuid4().hex}"
    database.execute(f"CREATE ROLE {role}".encode())
    try:
        database.execute(f"SET ROLE {role}".encode())
        with pytest.raises(DatabaseRefused, match="may not"):
            events.listed()
        database.execute("RESET ROLE")
        database.execute(f"GRANT SELECT ON public.ses_suppressed_recipients TO {role}".encode())
        database.execute(f"SET ROLE {role}".encode())
        with pytest.raises(DatabaseRefused, match="may not"):
            events.listed()
    finally:
        database.execute("RESET ROLE")
        database.execute(f"DROP OWNED BY {role}".encode())
        database.execute(f"DROP ROLE {role}".encode())


def test_the_migration_may_be_run_again(events: Events, database: Database) -> None:
    events.complaint(1)
    database.execute((migrations_directory() / MIGRATION).read_bytes())
    assert events.only().reason is Reason.COMPLAINT


def test_without_the_migration_the_sentence_names_the_command(database_url: str) -> None:
    with Store.connect(database_url) as store, pytest.raises(DatabaseRefused, match="migrate"):
        store.suppression.recipients()


def test_the_page_for_people_names_every_reason() -> None:
    page = (Path(__file__).parents[1] / "docs" / "suppression.md").read_text()
    assert [reason for reason in Reason if f"`{reason}`" not in page] == []


# Beside SES's list


def _listed(recipient: str, reason: Reason) -> Suppressed:
    now = datetime.now(UTC)
    return Suppressed(recipient, reason, now, now, 1, [], None)


def test_only_hard_bounces_and_complaints_belong_on_sess_list() -> None:
    ours = [_listed(f"{reason}@example.org", reason) for reason in Reason]
    differences = compare(ours, {})
    assert [each.reason for each in differences.missing_at_ses] == [
        Reason.COMPLAINT,
        Reason.PERMANENT_BOUNCE,
    ]
    assert "@" not in repr(differences)


def test_what_ses_lists_is_unknown_to_us_only_when_we_list_it_for_no_reason() -> None:
    ours = [_listed(JANE, Reason.TRANSIENT_BOUNCES), _listed("x@example.org", Reason.COMPLAINT)]
    ses = {JANE: "BOUNCE", "x@example.org": "BOUNCE", "z@example.org": "BOUNCE", "a@b.c": "BOUNCE"}
    differences = compare(ours, ses)
    assert differences.missing_at_ses == ()
    assert differences.unknown_to_us == ("a@b.c", "z@example.org")
