"""The counters of one account, read and analysed: what rollups, checks and the report share."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from dpp_feedback.feedback.analysis import Analysis, analyse
from dpp_feedback.feedback.domains import FEEDBACK_LOOP_DOMAINS, SIMULATOR_DOMAIN, ascii_domain
from dpp_feedback.feedback.estimate import begin, by_day
from dpp_feedback.resources import min_volume, verified_domains

if TYPE_CHECKING:
    from datetime import date

    from dpp_feedback.store import Store

_YEAR = timedelta(days=365)  # as far back as AWS's figure may reach
_TWO_WINDOWS = timedelta(days=56)  # the 28 days that are looked at, and the 28 before them


def load_analysis(store: Store, as_of: date) -> Analysis:
    """Read the counters up to a day, and analyse them.

    Args:
        store: connected.
        as_of: the last day, in UTC; closed.

    Raises:
        SettingError: a setting is malformed.
        DatabaseRefused, DatabaseUnavailable: the counters cannot be read.
    """
    daily = store.daily_counts
    year = as_of - _YEAR + timedelta(days=1)
    totals = daily.totals(year, as_of)
    # As somebody wrote them, and as SES writes them.
    verified = verified_domains()
    verified |= {ascii_domain(name) for name in verified}
    exempt = daily.of_domains(year, as_of, {SIMULATOR_DOMAIN, *verified})
    # Providers with feedback loops may be thousands of domains: of these only AWS's window.
    first, _ = begin(as_of, by_day(totals), by_day(exempt))
    looped = FEEDBACK_LOOP_DOMAINS | daily.complaining_domains(year, as_of)
    return analyse(
        as_of,
        totals=totals,
        counts=daily.largest(as_of - _TWO_WINDOWS + timedelta(days=1), as_of),
        of_domains=exempt + daily.of_domains(first, as_of, looped - verified - {SIMULATOR_DOMAIN}),
        verified_domains=verified,
        min_volume=min_volume(),
    )
