"""Each page that a person opens says what it should, and is kept as a picture to look at.

A picture that is blank or a page without its words fails; whether it is beautiful, a person sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from dpp_feedback_tests.screenshots.browser import Browser, Month

LOCATION = "locations/dpp_feedback"
OVERVIEW = "?view=overview"


@dataclass(frozen=True)
class Page:
    """Where it is, what to click on there, what it says then, and how high the picture is."""

    path: str
    says: tuple[str, ...]
    click: tuple[str, ...] = ()
    height: int = 1100


ASSETS = (
    "ses_feedback_events",
    "daily_bounce_rates",
    "bounce_rate_report",
    "dlq_health",
    "suppressed_recipients",
)
PAGES = {
    "asset-graph": Page("asset-groups", ASSETS),
    "events": Page(f"assets/ses_feedback_events{OVERVIEW}", ("stored", "duplicates"), height=1900),
    "rates": Page(
        f"assets/daily_bounce_rates{OVERVIEW}", ("bounce_rate_percent", "headline"), height=2100
    ),
    "rates-plots": Page(
        f"assets/daily_bounce_rates{OVERVIEW}", ("bounce_rate_percent",), ("Plots",), 2300
    ),
    "report": Page(f"assets/bounce_rate_report{OVERVIEW}", ("headline",), height=1700),
    "dlq": Page(f"assets/dlq_health{OVERVIEW}", ("messages", "fed_by_main_queue")),
    "suppressed": Page(f"assets/suppressed_recipients{OVERVIEW}", ("expires_at",), height=1700),
    "failed-check": Page(
        "assets/daily_bounce_rates?view=checks&checkDetail=incidents",
        ("Failed", "Permanent/General, from news@example.com"),
    ),
    "automation": Page("automation", ("feedback_queue_sensor", "daily_rollup_schedule")),
    "sensor": Page(
        f"{LOCATION}/sensors/feedback_queue_sensor", ("Nothing waiting",), ("0 runs requested",)
    ),
    "alerts": Page(f"{LOCATION}/sensors/feedback_alerts", ("feedback_alerts", "~1 min")),
} | {
    f"launchpad-{job.replace('_', '-')}": Page(f"{LOCATION}/jobs/{job}/playground", ("Launch Run",))
    for job in (
        "process_feedback",
        "reprocess_dlq",
        "daily_rollup",
        "bounce_rate_report",
        "suppression_list",
        "feedback_checks",
    )
}


def is_blank(picture: Path) -> bool:
    with Image.open(picture) as image:
        colours = image.convert("RGB").getcolors(maxcolors=1 << 24)
    return colours is None or len(colours) < 30


@pytest.mark.parametrize("name", PAGES)
def test_the_page_says_what_it_should(
    name: str, month: Month, browser: Browser, pictures: Path
) -> None:
    page = PAGES[name]
    browser.open(f"{month.url}/{page.path}", 1500, page.height)
    for text in page.click:
        browser.click(text)
    missing = browser.missing(page.says)
    browser.shoot(picture := pictures / f"{name}.png")
    assert missing == []
    assert not is_blank(picture)


def test_the_report_tells_the_incident(month: Month, browser: Browser, pictures: Path) -> None:
    (report,) = month.reports.glob("bounce-rates-*.html")
    browser.open(report.as_uri(), 820, 1500)
    assert browser.missing(["Incidents", "news@example.com"]) == []
    browser.shoot(picture := pictures / "report-page.png")
    assert not is_blank(picture)
