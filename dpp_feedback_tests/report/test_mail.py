"""The report as a mail: what a mail program finds in it."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from typing import TYPE_CHECKING

from dpp_feedback.report import charts, mail, table
from dpp_feedback.report.sentences import headline, incident_sentence
from dpp_feedback_tests.report import accounts

if TYPE_CHECKING:
    from dpp_feedback.report.words import Kind

LINK = "s3://reports/ses/bounce-rates-2026-11-23.html"


# Drawing takes a second; what is in the pictures is test_charts.py's business.
DRAWN: dict[Kind, charts.Chart] = {
    "bounce": charts.Chart(b"", b"", b"\x89PNG bounces", b""),
    "complaint": charts.Chart(b"", b"", b"\x89PNG complaints", b""),
}


def _sent() -> EmailMessage:
    """The mail as it arrives."""
    composed = mail.compose(accounts.incident(), accounts.normal(), DRAWN, LINK)
    arrived = message_from_bytes(composed.as_bytes(policy=SMTP), policy=default)
    assert isinstance(arrived, EmailMessage)
    return arrived


def test_the_subject_says_day_and_state() -> None:
    assert _sent()["Subject"] == "Bounces: pause, complaints: fine; 23 November 2026"


def test_the_text_says_headline_incidents_causes_and_where_the_report_is() -> None:
    body = _sent().get_body(("plain",))
    assert body is not None
    text = body.get_content().replace("\r\n", "\n")
    assert f"{headline(accounts.incident())}.\n" in text
    assert incident_sentence(accounts.incident().incidents[0]) in text
    assert "- gmail.com, ContentRejected, from news@example.com: 86.6 % of all bounces" in text
    assert LINK in text


def test_the_html_shows_charts_that_the_mail_carries_and_no_data_urls() -> None:
    arrived = _sent()
    body = arrived.get_body(("html",))
    assert body is not None
    page = body.get_content()
    pictures = {
        part["Content-ID"]: part.get_content()
        for part in arrived.walk()
        if part.get_content_type() == "image/png"
    }
    assert pictures == {f"<{kind}>": chart.narrow for kind, chart in DRAWN.items()}
    assert 'src="cid:bounce"' in page
    assert 'src="cid:complaint"' in page
    assert "data:" not in page
    assert len(page) < 102_400  # where Gmail cuts a mail


def test_the_csv_is_attached_as_it_was_written() -> None:
    (attached,) = _sent().iter_attachments()
    assert attached.get_filename() == "bounce-rates-2026-11-23.csv"
    assert attached.get_content_type() == "text/csv"
    assert attached.get_payload(decode=True) == table.csv(accounts.incident())
