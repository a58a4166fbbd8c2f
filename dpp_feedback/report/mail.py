"""The report as a mail. Sending it is notify's business."""

from __future__ import annotations

from email.message import EmailMessage
from typing import TYPE_CHECKING

from dpp_feedback.report import html, table, words
from dpp_feedback.report.sentences import cause_sentence, headline, incident_sentence, side_of
from dpp_feedback.report.words import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dpp_feedback.feedback.analysis import Analysis
    from dpp_feedback.report.charts import Chart
    from dpp_feedback.report.words import Kind


def compose(
    analysis: Analysis, before: Analysis | None, drawn: Mapping[Kind, Chart], link: str
) -> EmailMessage:
    """Make the mail: text, HTML with its charts, and the CSV; without sender and recipients.

    The charts are parts of the mail, because mail programs show no `data:` URLs. They are narrow,
    so that they can be read on a phone.

    Args:
        analysis: what is reported.
        before: that of the previous report.
        drawn: its charts.
        link: where the report was written, named in the text.
    """
    message = EmailMessage()
    message["Subject"] = f"{_state(analysis)}; {words.day(analysis.as_of)}"
    message.set_content(_text(analysis, link))
    pictures = {kind: html.Picture(f"cid:{kind}", width=480) for kind in KINDS}
    message.add_alternative(html.page(analysis, before, pictures), subtype="html")
    body = message.get_body(("html",))
    if isinstance(body, EmailMessage):
        for kind in KINDS:
            body.add_related(
                drawn[kind].narrow,
                "image",
                "png",
                cid=f"<{kind}>",
                disposition="inline",
                filename=f"{kind}.png",
            )
    message.add_attachment(
        table.csv(analysis),
        maintype="text",
        subtype="csv",
        filename=f"bounce-rates-{analysis.as_of}.csv",
        params={"charset": "utf-8"},
    )
    return message


def _state(analysis: Analysis) -> str:
    """Say both levels, in so few words that no mail program breaks or cuts the subject."""
    bounce, complaint = (side_of(analysis, kind).level for kind in KINDS)
    if bounce is complaint:
        return f"Bounces and complaints: {bounce}"
    return f"Bounces: {bounce}, complaints: {complaint}"


def _text(analysis: Analysis, link: str) -> str:
    parts = [f"{headline(analysis)}."]
    if analysis.incidents:
        told = [f"- {incident_sentence(one)}" for one in analysis.incidents]
        parts.append("\n".join(["Incidents", *told]))
    for kind in KINDS:
        if causes := side_of(analysis, kind).causes[:5]:
            told = [f"- {cause_sentence(one)}" for one in causes]
            parts.append("\n".join([f"{kind.capitalize()}s by cause", *told]))
    parts.append(f"The whole report: {link}")
    return "\n\n".join(parts) + "\n"
