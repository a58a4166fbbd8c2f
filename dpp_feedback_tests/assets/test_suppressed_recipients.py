"""The asset `suppressed_recipients`: the file, the numbers, and SES's list beside ours.

SES's list is kept by ses_list.py over HTTP; ministack's takes no addresses.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dagster as dg
import pytest

from dpp_feedback.assets.suppression import FILE, as_csv, suppressed_recipients
from dpp_feedback.migrate import migrate
from dpp_feedback.resources import FeedbackStore, ReportFolder, SesAccount
from dpp_feedback_tests.ses_list import SesList, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    Database = psycopg.Connection[tuple[Any, ...]]

OURS = ("angry@example.org", "gone@example.org", "new@example.org", "full@example.org")


@pytest.fixture
def ses_list(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SesList]:
    """The environment, with SES's list behind AWS_ENDPOINT_URL."""
    with serving(SesList()) as listed:
        for name, value in {
            "DATABASE_URL": database_url,
            "SES_FEEDBACK_REPORTS": str(tmp_path),
            "AWS_REGION": "ap-northeast-2",
            "AWS_ENDPOINT_URL": listed.url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        }.items():
            monkeypatch.setenv(name, value)
        yield listed


@pytest.fixture
def listed(database: Database) -> Database:
    """Four recipients on the list: a complaint, two permanent bounces, transient ones."""
    _add(database, "Complaint", OURS[0])
    _add(database, "Bounce", OURS[1], "Permanent", "NoEmail")
    _add(database, "Bounce", OURS[2], "Permanent", "General")
    for days_ago in (13, 12, 11, 10, 8):
        _add(database, "Bounce", OURS[3], "Transient", "MailboxFull", days_ago)
    return database


def _add(
    database: Database,
    kind: str,
    recipient: str,
    bounce_type: str | None = None,
    sub_type: str | None = None,
    days_ago: int = 1,
) -> None:
    database.execute(
        """
        INSERT INTO public.ses_feedback_events (notification_type, ses_message_id,
          primary_recipient, bounce_type, bounce_sub_type, event_at, dedupe_key)
        VALUES (%s, 'mail', %s, %s, %s, now() - make_interval(days => %s), %s)
        """,
        [kind, recipient, bounce_type, sub_type, days_ago, str(uuid4())],
    )


def _run(**config: bool) -> dg.ExecuteInProcessResult:
    ops = {"suppressed_recipients": {"config": config}}
    with dg.instance_for_test() as instance:
        return dg.materialize(
            [suppressed_recipients],
            resources={"store": FeedbackStore(), "ses": SesAccount(), "reports": ReportFolder()},
            run_config={"ops": ops},
            instance=instance,
            raise_on_error=False,
        )


def _numbers(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    assert result.success
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    return {name: getattr(value, "value", value) for name, value in metadata.items()}


def _rows(tmp_path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((tmp_path / FILE).read_text())))


@pytest.mark.usefixtures("listed")
def test_the_list_is_written_and_counted(ses_list: SesList, tmp_path: Path) -> None:
    ses_list.addresses = {"gone@example.org": "BOUNCE", "by-hand@example.org": "BOUNCE"}
    numbers = _numbers(_run())
    assert numbers == {
        "recipients": 4,
        "complaint": 1,
        "unsubscribed": 0,
        "permanent_bounce": 2,
        "global_list": 0,
        "transient_bounces": 1,
        "expiring_within_7_days": 1,
        "file": str(tmp_path / FILE),
        "missing_at_ses": 2,
        "only_at_ses": 1,
        "added_to_ses": 0,
        "refused_by_ses": 0,
        "erased_and_kept_as_hash": 0,
    }
    rows = _rows(tmp_path)
    assert [row["recipient"] for row in rows] == sorted(OURS)
    gone = next(row for row in rows if row["recipient"] == "gone@example.org")
    assert gone["reason"] == "permanent_bounce"
    assert gone["expires_at"] == ""
    assert json.loads(gone["evidence"])[0]["sub_types"] == ["NoEmail"]


@pytest.mark.usefixtures("listed")
def test_ses_is_only_read_unless_asked(ses_list: SesList) -> None:
    _numbers(_run())
    assert {call.split()[0] for call in ses_list.calls} == {"GET"}


@pytest.mark.usefixtures("listed")
def test_when_asked_hard_bounces_and_complaints_are_added_and_nothing_is_removed(
    ses_list: SesList,
) -> None:
    ses_list.addresses = {"gone@example.org": "BOUNCE", "by-hand@example.org": "BOUNCE"}
    numbers = _numbers(_run(update_ses=True))
    assert (numbers["missing_at_ses"], numbers["added_to_ses"]) == (2, 2)
    assert ses_list.addresses == {
        "gone@example.org": "BOUNCE",
        "by-hand@example.org": "BOUNCE",
        "angry@example.org": "COMPLAINT",
        "new@example.org": "BOUNCE",
    }
    again = _numbers(_run(update_ses=True))
    assert (again["missing_at_ses"], again["added_to_ses"]) == (0, 0)


@pytest.mark.usefixtures("listed")
def test_what_ses_does_not_take_is_counted_and_said(ses_list: SesList) -> None:
    ses_list.refuse_changes = (403, "AccessDeniedException")
    numbers = _numbers(_run(update_ses=True))
    assert (numbers["missing_at_ses"], numbers["added_to_ses"]) == (3, 0)
    said = "The role may not call ses:PutSuppressedDestination: add it to the role's policy."
    assert numbers["not_all_added_to_ses"] == said


class _Picky(SesList):
    """Takes every address but one, as SES does that holds it to be none."""

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if method == "PUT" and json.loads(body)["EmailAddress"] == OURS[0]:
            self.calls.append(f"{method} refused")
            return 400, {"__type": "BadRequestException", "message": f"{OURS[0]} is none"}
        return super().answer(method, target, body)


@pytest.mark.usefixtures("listed")
def test_an_address_that_ses_refuses_is_counted_and_keeps_no_other_from_its_list(
    ses_list: SesList, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ses_list.url
    with serving(_Picky()) as picky:
        monkeypatch.setenv("AWS_ENDPOINT_URL", picky.url)
        numbers = _numbers(_run(update_ses=True))
    assert "PUT refused" in picky.calls[:2]  # it comes first, so the others come after
    assert picky.addresses == {OURS[1]: "BOUNCE", OURS[2]: "BOUNCE"}
    assert (numbers["missing_at_ses"], numbers["added_to_ses"]) == (3, 2)
    assert numbers["refused_by_ses"] == 1
    assert "not_all_added_to_ses" not in numbers


@pytest.mark.usefixtures("listed")
def test_where_ses_is_down_after_a_while_adding_ends_and_says_so(ses_list: SesList) -> None:
    ses_list.refuse_changes = (503, "ServiceUnavailable")
    numbers = _numbers(_run(update_ses=True))
    assert numbers["added_to_ses"] == numbers["refused_by_ses"] == 0
    assert numbers["not_all_added_to_ses"].startswith("SES cannot do PutSuppressedDestination now")
    assert len(ses_list.calls) == 1 + 4  # one address, as often as boto3 tries


@pytest.mark.usefixtures("listed")
def test_where_ses_may_not_be_asked_the_list_is_made_and_the_metadata_say_so(
    ses_list: SesList, tmp_path: Path
) -> None:
    ses_list.refuse_all = (403, "AccessDeniedException")
    numbers = _numbers(_run(update_ses=True))
    said = "The role may not call ses:ListSuppressedDestinations: add it to the role's policy."
    assert numbers["not_compared_with_ses"] == said
    assert not numbers.keys() & {"missing_at_ses", "only_at_ses", "added_to_ses"}
    assert len(_rows(tmp_path)) == 4


@pytest.mark.usefixtures("listed")
def test_where_ses_does_not_answer_the_list_is_made(
    ses_list: SesList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ses_list.url
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert _numbers(_run())["not_compared_with_ses"].startswith("SES does not answer")
    assert len(_rows(tmp_path)) == 4


@pytest.mark.usefixtures("listed")
def test_no_address_gets_into_metadata_or_logs(
    ses_list: SesList, capfd: pytest.CaptureFixture[str]
) -> None:
    ses_list.addresses = {"by-hand@example.org": "BOUNCE"}
    ses_list.refuse_changes = (400, "BadRequestException")
    result = _run(update_ses=True)
    said = f"{result.all_events}{capfd.readouterr()}"
    assert "missing_at_ses" in said
    assert [name for name in (*OURS, "by-hand@example.org") if name in said] == []


@pytest.mark.usefixtures("database")
def test_an_empty_list_is_a_file_with_headings_only(ses_list: SesList, tmp_path: Path) -> None:
    assert ses_list.url
    assert _numbers(_run())["recipients"] == 0
    assert _rows(tmp_path) == []
    assert (tmp_path / FILE).read_text().startswith("recipient,reason,since,")


def test_an_address_that_looks_like_a_formula_is_defused(
    database: Database, ses_list: SesList, tmp_path: Path
) -> None:
    assert ses_list.url
    for recipient in ("=cmd|'x'!a0@example.org", "+1@example.org", "\n-a@example.org"):
        _add(database, "Complaint", recipient)
    _numbers(_run())
    assert {row["recipient"] for row in _rows(tmp_path)} == {
        "'=cmd|'x'!a0@example.org",
        "'+1@example.org",
        "'\n'-a@example.org",  # some programs take the line break for the end of a cell
    }
    assert as_csv([]).count(b"\n") == 1


def test_without_the_view_the_run_fails_with_the_command_to_run(
    ses_list: SesList, database_url: str
) -> None:
    assert database_url
    result = _run()
    assert not result.success
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    error = failed.step_failure_data.error
    assert error
    assert "dpp-feedback migrate" in error.message
    assert ses_list.calls == []


def test_a_second_run_replaces_the_file(
    database_url: str, ses_list: SesList, tmp_path: Path
) -> None:
    assert ses_list.url
    migrate(database_url)
    _numbers(_run())
    _numbers(_run())
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
