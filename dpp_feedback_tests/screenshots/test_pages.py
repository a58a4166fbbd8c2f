"""Each page that a person opens says what it should, and is kept as a picture to look at.

A picture that is blank or a page without its words fails; whether it is beautiful, a person sees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from dpp_feedback_tests.screenshots.browser import Browser, Month

LOCATION = "locations/dpp_feedback"
PAGES = {
    "asset-graph": ("asset-groups", ["daily_bounce_rates", "dlq_health", "bounce_rate_report"]),
    "events": ("assets/ses_feedback_events?view=overview", ["ses_feedback_events", "stored"]),
    "rates": ("assets/daily_bounce_rates?view=overview", ["bounce_rate_percent", "headline"]),
    "rates-plots": ("assets/daily_bounce_rates?view=plots", ["bounce_rate_percent"]),
    "report": ("assets/bounce_rate_report?view=overview", ["headline"]),
    "dlq": ("assets/dlq_health?view=overview", ["messages"]),
    "suppressed": ("assets/suppressed_recipients?view=overview", ["suppressed_recipients"]),
    "failed-check": (
        "assets/daily_bounce_rates?view=checks&checkDetail=incidents",
        ["incidents", "MailboxFull"],
    ),
    "automation": ("automation", ["feedback_queue_sensor", "daily_rollup_schedule"]),
    "sensor": (f"{LOCATION}/sensors/feedback_queue_sensor", ["Nothing waiting"]),
    "alerts": (f"{LOCATION}/sensors/feedback_alerts", ["feedback_alerts"]),
    "launchpad-process-feedback": (f"{LOCATION}/jobs/process_feedback/playground", ["Launch"]),
    "launchpad-daily-rollup": (f"{LOCATION}/jobs/daily_rollup/playground", ["Materialize"]),
    "launchpad-bounce-rate-report": (
        f"{LOCATION}/jobs/bounce_rate_report/playground",
        ["Materialize"],
    ),
}


def is_blank(picture: Path) -> bool:
    with Image.open(picture) as image:
        colours = image.convert("RGB").getcolors(maxcolors=1 << 24)
    return colours is None or len(colours) < 30


@pytest.mark.parametrize("name", PAGES)
def test_the_page_says_what_it_should(
    name: str, month: Month, browser: Browser, pictures: Path
) -> None:
    path, words = PAGES[name]
    picture = pictures / f"{name}.png"
    browser.shoot(f"{month.url}/{path}", picture, size=(1500, 1100))
    assert not is_blank(picture)
    text = browser.text(f"{month.url}/{path}")
    assert [word for word in words if word not in text] == []


def test_the_report_tells_the_incident(month: Month, browser: Browser, pictures: Path) -> None:
    (report,) = month.reports.glob("bounce-rates-*.html")
    picture = pictures / "report-page.png"
    browser.shoot(report.as_uri(), picture, size=(820, 1500))
    assert not is_blank(picture)
    assert "Incidents" in browser.text(report.as_uri())
