"""Getting a certificate over the network, with bounds.

By botocore's session, so that proxies (`HTTPS_PROXY`, `NO_PROXY`) and `AWS_CA_BUNDLE` hold as for
every call of AWS. It follows no redirect. What a certificate is worth is trust.py's business.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dpp_feedback.aws_errors import AwsUnavailable

if TYPE_CHECKING:
    from urllib3 import HTTPResponse

MAX_BYTES = 64 * 1024  # SNS's have 2 KB
_SECONDS = 5  # to connect, and for each wait
_SECONDS_IN_ALL = 10.0
_CHUNK = 8192
_THROTTLED = 429


class NotServed(Exception):
    """The server answers, and has no such certificate."""


def get(url: str) -> bytes:
    """Fetch a small file.

    Args:
        url: https://..., or http://... of what is worth nothing without its issuer's signature.

    Raises:
        NotServed: the answer is another than 200, or larger than `MAX_BYTES`.
        AwsUnavailable: there is no answer, not in time, or not now.
    """
    import urllib3
    from botocore.awsrequest import AWSRequest
    from botocore.exceptions import BotoCoreError
    from botocore.httpsession import URLLib3Session
    from botocore.session import get_session
    from botocore.utils import get_environ_proxies

    until = monotonic() + _SECONDS_IN_ALL
    try:
        session = URLLib3Session(
            verify=get_session().get_config_variable("ca_bundle") or True,
            proxies=get_environ_proxies(url),
            timeout=_SECONDS,
        )
        try:
            request = AWSRequest(method="GET", url=url, stream_output=True).prepare()
            answer = session.send(request)
            if answer.status_code == _THROTTLED or answer.status_code >= 500:
                raise unavailable(url, f"HTTP {answer.status_code}")
            if answer.status_code != 200:
                raise NotServed
            return _read(answer.raw, url, until)
        finally:
            session.close()
    except (BotoCoreError, urllib3.exceptions.HTTPError, OSError) as error:
        raise unavailable(url, type(error).__name__) from None


def unavailable(url: str, why: str) -> AwsUnavailable:
    """Say that a certificate cannot be had now, and what to let through."""
    parts = urlsplit(url)
    port = 443 if parts.scheme == "https" else 80
    return AwsUnavailable(
        f"SNS's signatures cannot be verified now, as {parts.hostname} gives no certificate "
        f"({why}): let the runs reach it on port {port}, or through HTTPS_PROXY; docs/runbook.md "
        'says more under "SNS\'s signatures".'
    )


def _read(answer: HTTPResponse, url: str, until: float) -> bytes:
    """Read it bit by bit: a server that sends a byte now and then would never be too late."""
    body = b""
    while chunk := answer.read1(_CHUNK, decode_content=False):
        body += chunk
        if len(body) > MAX_BYTES:
            raise NotServed
        if monotonic() > until:
            raise unavailable(url, "too slow")
    return body
