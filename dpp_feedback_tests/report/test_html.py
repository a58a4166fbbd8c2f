"""The page: whole in itself, escaped, with headers, saying what the analysis says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from dpp_feedback.feedback.rates import Level
from dpp_feedback.report import charts, html
from dpp_feedback.report.sentences import (
    chart_sentence,
    days_sentence,
    headline,
    incident_sentence,
    trend_sentence,
)
from dpp_feedback_tests.report import accounts

if TYPE_CHECKING:
    from dpp_feedback.feedback.analysis import Analysis
    from dpp_feedback.report.words import Kind

ALL = {
    "normal": accounts.normal(),
    "incident": accounts.incident(),
    "empty": accounts.empty(),
    "first day": accounts.first_day(),
    "one mail a day": accounts.one_mail_a_day(),
    "hostile": accounts.hostile(),
}
LINKING = {"href", "src", "srcset", "action", "data", "poster", "background", "xlink:href"}
VOID = {"meta", "img", "source", "br", "link"}


@dataclass
class Page(HTMLParser):
    """A page taken apart: its tags with their attributes, and its text without style."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).replace("\N{NO-BREAK SPACE}", " ").split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


# Drawing takes a second; what is in the pictures is test_charts.py's business.
DRAWN: dict[Kind, html.Picture] = {
    "bounce": html.Picture("data:image/png;base64,AA=="),
    "complaint": html.Picture("data:image/png;base64,AA=="),
}


def _page(
    analysis: Analysis,
    before: Analysis | None = None,
    pictures: dict[Kind, html.Picture] = DRAWN,
) -> tuple[str, Page]:
    source = html.page(analysis, before, pictures)
    page = Page()
    page.feed(source)
    page.close()
    assert page.open == []
    return source, page


@pytest.mark.parametrize("analysis", ALL.values(), ids=ALL)
def test_the_page_is_whole_in_itself_and_accessible(analysis: Analysis) -> None:
    source, page = _page(analysis)
    assert page.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all(
        "meta"
    )
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    assert "@import" not in source
    assert "url(" not in source
    for tag, attributes in page.tags:
        for name in LINKING & set(attributes):
            assert (attributes[name] or "").startswith("data:image/png;base64,"), tag
        assert not any(name.startswith("on") for name in attributes), tag
    assert all(attributes.get("alt") for attributes in page.all("img"))
    assert len(page.all("h1")) == 1
    headers = page.all("th")
    assert all(attributes.get("scope") in ("col", "row") for attributes in headers)
    tables = re.findall(r"<table.*?</table>", source, re.DOTALL)
    assert len(tables) >= 2
    assert all('scope="col"' in one and 'scope="row"' in one for one in tables)


@pytest.mark.parametrize("analysis", ALL.values(), ids=ALL)
def test_the_page_says_headline_and_levels_in_words(analysis: Analysis) -> None:
    _, page = _page(analysis)
    assert headline(analysis) in page.text
    assert f"Bounces {analysis.bounce.level}" in page.text
    assert f"Complaints {analysis.complaint.level}" in page.text


def test_both_figures_stand_with_denominator_basis_and_interval() -> None:
    _, page = _page(accounts.normal())
    assert "Ours, 7 days 1.8 % 1.7 % to 1.9 % 648 of 36,000 mails Send events fine" in page.text
    assert re.search(r"AWS's \(estimate\) 1 % \S+ % to \S+ % 360 of 36,000 mails", page.text)


def test_the_row_of_the_estimate_is_judged_as_the_heading_is() -> None:
    # 2 complaints of 1,400 mails are 0.14 %, and may be as few as 0.04 %.
    day = accounts.AS_OF
    analysis = accounts.analysed(
        [
            accounts.counted(day, "Send", 20_000),
            accounts.counted(day, "Send", 1_400, domain="yahoo.com"),
            accounts.counted(day, "Complaint", 2, domain="yahoo.com"),
        ]
    )
    assert analysis.complaint.level is Level.FINE
    _, page = _page(analysis)
    assert "Complaints fine" in page.text
    row = re.search(r"AWS's \(estimate\) 0.14 % .*? 2 of 1,400 mails Send events (\w+)", page.text)
    assert row is not None
    assert row[1] == "fine"


def test_both_trends_are_told_and_the_one_that_counts_with_days() -> None:
    _, page = _page(accounts.normal())
    assert page.text.count("No sure trend over 7 days. No sure trend over 28 days.") == 2
    rising = [
        accounts.counted(accounts.AS_OF - timedelta(days=back), "Bounce", 30 * (7 - back))
        for back in range(7)
    ]
    analysis = accounts.analysed(accounts.month_of(6_000, 40, 20, 1) + rising)
    week, month = analysis.bounce.trend_week, analysis.bounce.trend_month
    assert week.significant
    assert month.significant
    assert week.days_to_review
    _, page = _page(analysis)
    told = f"{trend_sentence(week)}; {days_sentence(week)}. {trend_sentence(month)}. "
    assert told in page.text


def test_the_page_tells_incidents_and_changes() -> None:
    _, page = _page(accounts.incident(), accounts.normal())
    assert incident_sentence(accounts.incident().incidents[0]) in page.text
    assert "The last report was of 23 November 2026." in page.text
    assert "Bounces: from fine to pause; 13.5 %, before 1.8 % over 7 days." in page.text
    _, first = _page(accounts.incident())
    assert "This is the first report" in first.text


def test_the_charts_have_text_and_are_there_light_dark_and_for_phones_but_light_on_paper() -> None:
    analysis = accounts.normal()
    _, page = _page(analysis, pictures=html.embedded(charts.drawn(analysis)))
    urls = [one["src"] for one in page.all("img")] + [one["srcset"] for one in page.all("source")]
    assert len(set(urls)) == 8
    assert all((url or "").startswith("data:image/png;base64,iVBOR") for url in urls)
    assert [one["alt"] for one in page.all("img")] == [
        chart_sentence(accounts.normal(), "bounce").replace(" %", "\N{NO-BREAK SPACE}%"),
        chart_sentence(accounts.normal(), "complaint").replace(" %", "\N{NO-BREAK SPACE}%"),
    ]
    media = [one["media"] or "" for one in page.all("source")]
    assert len(media) == 6
    assert all(query.startswith("screen and ") for query in media)
    assert sum("dark" in query for query in media) == 4


def test_names_from_outside_are_escaped_wherever_they_stand() -> None:
    source, page = _page(accounts.hostile(), accounts.hostile())
    assert "<script" not in source.lower()
    assert source.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4  # sender, domain, type, cause
    assert "<script>alert(1)</script>" in page.text
    assert "xn--e1afmkfd.xn--p1ai (пример.рф)" in page.text


def test_the_same_analysis_gives_the_same_page() -> None:
    pages = [
        _page(one, pictures=html.embedded(charts.drawn(one)))[0] for one in [accounts.normal()] * 2
    ]
    assert pages[0] == pages[1]


def test_advice_stands_once_for_each_subtype() -> None:
    day = accounts.AS_OF
    analysis = accounts.analysed(
        [
            accounts.counted(day, "Send", 5_000),
            *(
                accounts.counted(
                    day, "Bounce", n, domain=f"{n}.example", sub_type="Permanent/NoEmail"
                )
                for n in (30, 20, 10)
            ),
        ]
    )
    _, page = _page(analysis)
    assert page.text.count("The mailboxes do not exist.") == 2  # among causes, and among types
