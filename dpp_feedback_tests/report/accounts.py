"""Accounts to report on, made from counts as the counters hold them. No assertions."""

from __future__ import annotations

from datetime import date, timedelta

from dpp_feedback.feedback.analysis import Analysis, analyse
from dpp_feedback.feedback.counts import Count

AS_OF = date(2026, 11, 23)
NEWS, SHOP = "news@example.com", "shop@example.com"


def counted(
    day: date,
    kind: str,
    count: int,
    *,
    source: str = NEWS,
    domain: str = "gmail.com",
    sub_type: str = "",
) -> Count:
    """Some events of one day; `sub_type` is "Transient/MailboxFull" for a bounce."""
    bounce_type, _, bounce_sub_type = sub_type.partition("/")
    return Count(
        day=day,
        notification_type=kind,
        bounce_type=bounce_type,
        bounce_sub_type=bounce_sub_type,
        source=source,
        configuration_set="marketing" if source == NEWS else "",
        recipient_domain=domain,
        count=count,
    )


def a_day(day: date, mails: int, hard: int, soft: int, complaints: int) -> list[Count]:
    """A day of two senders to two domains, three quarters of it news to gmail.com."""
    small = {"source": SHOP, "domain": "yahoo.com"}
    return [
        counted(day, "Send", mails - mails // 4),
        counted(day, "Send", mails // 4, **small),
        counted(day, "Bounce", hard, sub_type="Permanent/General"),
        counted(day, "Bounce", soft, sub_type="Transient/MailboxFull", **small),
        counted(day, "Complaint", complaints, **small),
    ]


def month_of(mails: int, hard: int, soft: int, complaints: int) -> list[Count]:
    """28 days alike but for weekends, with half as much mail."""
    counts = []
    for back in range(28):
        day = AS_OF - timedelta(days=back)
        part = 2 if day.isoweekday() > 5 else 1
        counts += a_day(day, mails // part, hard // part, soft // part, complaints // part)
    return counts


def analysed(counts: list[Count], as_of: date = AS_OF, min_volume: int = 1_000) -> Analysis:
    """Analyse counts as if the store had handed them over."""
    counts = [count for count in counts if count.count]
    of_domains = [count for count in counts if count.recipient_domain == "yahoo.com"]
    return analyse(
        as_of,
        totals=counts,
        counts=counts,
        of_domains=of_domains,
        verified_domains=frozenset(),
        min_volume=min_volume,
    )


def normal() -> Analysis:
    """6,000 mails a day, 1.8 % bounces, 0.02 % complaints."""
    return analysed(month_of(6_000, 60, 48, 1))


def incident(as_of: date = AS_OF) -> Analysis:
    """The normal month, with three days on which gmail.com takes little from news@example.com."""
    bad = [
        counted(AS_OF - timedelta(days=back), "Bounce", 1_400, sub_type="Transient/ContentRejected")
        for back in range(3)
    ]
    return analysed(month_of(6_000, 60, 48, 1) + bad, as_of)


def complaining() -> Analysis:
    """The normal month, and a hundred complaints two weeks ago."""
    bad = [counted(AS_OF - timedelta(days=12), "Complaint", 100, domain="yahoo.com")]
    return analysed(month_of(6_000, 60, 48, 6) + bad)


def empty() -> Analysis:
    """Nothing at all."""
    return analysed([])


def first_day() -> Analysis:
    """Two thousand mails yesterday, none before."""
    return analysed(a_day(AS_OF, 2_000, 30, 10, 0))


def one_mail_a_day() -> Analysis:
    """A mail each day, one of which bounces."""
    days = [AS_OF - timedelta(days=back) for back in range(28)]
    return analysed(
        [
            *(counted(day, "Send", 1) for day in days),
            counted(days[4], "Bounce", 1, sub_type="Permanent/NoEmail"),
        ]
    )


def ten_million_a_day() -> Analysis:
    """A very large account, in good order."""
    return analysed(month_of(10_000_000, 30_000, 12_000, 450))


def hostile() -> Analysis:
    """Names from outside that mean to be more than names."""
    script = "<script>alert(1)</script>"
    return analysed(
        [
            *a_day(AS_OF, 4_000, 20, 10, 2),
            counted(
                AS_OF,
                "Send",
                2_000,
                source=f'"{script}"@example.com',
                domain="xn--e1afmkfd.xn--p1ai",
            ),
            counted(AS_OF, "Send", 1_500, source="=cmd|' /C calc'!a0@example.com", domain=script),
            counted(
                AS_OF,
                "Bounce",
                300,
                source="@evil.example",
                domain=script,
                sub_type=f"Permanent/{script}",
            ),
            counted(AS_OF, "Bounce", 30, source="", domain="", sub_type="-1+1/General"),
            counted(AS_OF, "Complaint", 5, source=f'"{script}"@example.com', domain=script),
        ]
    )
