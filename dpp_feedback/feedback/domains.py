"""Recipient domains: their two spellings, and those that AWS's figures treat in their own way."""

from __future__ import annotations

from functools import lru_cache

SIMULATOR_DOMAIN = "simulator.amazonses.com"
"""SES's mailbox simulator: mail to it counts nowhere in AWS's figures."""

_YAHOO = (
    *("ymail.com", "rocketmail.com", "myyahoo.com", "aol.com", "aim.com", "verizon.net", "att.net"),
    *("sbcglobal.net", "bellsouth.net", "pacbell.net", "ameritech.net", "swbell.net"),
    *("frontier.com", "frontiernet.net", "rogers.com", "cox.net"),
    *(
        f"yahoo.{ending}"
        for ending in (
            *("com", "ca", "co.id", "co.in", "co.kr", "co.nz", "co.th", "co.uk", "co.za", "com.ar"),
            *("com.au", "com.br", "com.cn", "com.co", "com.hk", "com.mx", "com.my", "com.pe"),
            *("com.ph", "com.sg", "com.tr", "com.tw", "com.ve", "com.vn", "de", "dk", "es", "fi"),
            *("fr", "gr", "ie", "in", "it", "nl", "no", "pl", "ro", "se"),
        )
    ),
)
_MICROSOFT = (
    *("msn.com", "passport.com", "windowslive.com"),
    *(
        f"{brand}.{ending}"
        for brand in ("outlook", "hotmail", "live")
        for ending in (
            *("com", "at", "be", "ca", "ch", "cl", "cn", "co.kr", "co.th", "co.uk", "co.za"),
            *("com.ar", "com.au", "com.br", "com.mx", "com.my", "com.pt", "com.sg", "com.tr"),
            *("cz", "de", "dk", "es", "fi", "fr", "gr", "hu", "ie", "in", "it", "jp", "kr", "nl"),
            *("no", "ph", "pt", "ru", "se", "sg"),
        )
    ),
)

FEEDBACK_LOOP_DOMAINS = frozenset(
    {
        # Yahoo and those whose mailboxes it runs: senders.yahooinc.com, "Complaint Feedback Loop".
        *_YAHOO,
        # Outlook.com: sendersupport.olc.protection.outlook.com, "Junk Mail Reporting Program".
        *_MICROSOFT,
        # Validity, fbl.validity.com, "Universal Feedback Loop": the consumer mailboxes in it.
        *("comcast.net", "fastmail.com", "fastmail.fm", "gandi.net", "libero.it", "virgilio.it"),
        *("tim.it", "alice.it", "laposte.net", "sfr.fr", "neuf.fr", "bluewin.ch", "telenet.be"),
        *("ziggo.nl", "xs4all.nl", "online.no", "bigpond.com", "virginmedia.com"),
        *("terra.com.br", "uol.com.br", "bol.com.br", "yandex.ru", "yandex.com", "ya.ru"),
        # Mail.ru: postmaster.mail.ru, "FBL".
        *("mail.ru", "bk.ru", "inbox.ru", "list.ru", "internet.ru"),
    }
)
"""Large consumer mailbox domains whose providers report complaints to senders.

AWS does not say which feedback loops it takes part in. A domain that a complaint came from
belongs to one, whether it stands here or not. Gmail reports no single complaint to anybody.
"""


@lru_cache(maxsize=65_536)
def ascii_domain(domain: str) -> str:
    """Put a domain on one form: lower case, with "xn--" for other scripts (RFC 3490).

    A domain that has no such form stays as it is.
    """
    if domain.isascii():
        return domain.lower()
    try:
        return domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return domain


def shown_domain(domain: str) -> str:
    """Write a domain for people: "xn--e1afmkfd.xn--p1ai (пример.рф)".

    The ASCII form comes first, because letters of other scripts may look like Latin ones. An
    ASCII domain, and one that cannot be decoded, stands alone.
    """
    plain = ascii_domain(domain)
    if "xn--" not in plain:
        return plain
    try:
        spoken = plain.encode("ascii").decode("idna")
    except UnicodeError:
        return plain
    return plain if spoken == plain else f"{plain} ({spoken})"
