"""Whether a certificate is SNS's: its names, its time, and its chain up to a known root.

SNS serves the leaf alone. Its issuers are in amazon_intermediates.pem; one that is not is fetched
from Amazon Trust Services, and proves itself by its own chain. The roots are those of certifi.
"""

from __future__ import annotations

import re
import warnings
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dpp_feedback.aws_errors import AwsRefused
from dpp_feedback.feedback.events import RejectedReason
from dpp_feedback.feedback.values import Refused
from dpp_feedback.sns.fetch import NotServed, get, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

OUTLIVED = timedelta(days=30)
"""A certificate that expired in this time is good for what was signed before: SQS keeps a message
for 14 days, and a redrive from the dead-letter queue for 14 more."""

_MOST_IN_A_FILE = 8
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_SMALLEST_KEY = 2048  # bits
_AMAZON_TRUST = re.compile(
    r"http://crt\.[a-z0-9]{1,32}\.amazontrust\.com/[a-z0-9]{1,32}\.(?:cer|crt)"
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate of SNS that was found in order.

    Attributes:
        key: what signatures are verified with.
        not_before, not_after: when it is valid; aware.
    """

    key: RSAPublicKey
    not_before: datetime
    not_after: datetime

    def require_valid(self, signed_at: datetime | None, now: datetime) -> None:
        """Make sure that it is valid now, or was when a message was signed.

        Args:
            signed_at: the message's `Timestamp`, which SNS signs; aware.
            now: aware.

        Raises:
            Refused: neither.
        """
        if self.not_before <= now <= self.not_after:
            return
        outlived = now - self.not_after <= OUTLIVED
        if signed_at and outlived and self.not_before <= signed_at <= self.not_after:
            return
        raise _refused("the certificate is not valid at this time")


def trusted(pem: bytes, names: Iterable[str], now: datetime) -> Certificate:
    """Read a certificate as SNS serves it, and make sure that it is SNS's.

    Args:
        pem: the file.
        names: any of these must be among the certificate's names.
        now: aware.

    Raises:
        Refused: it is none of SNS's, or expired.
        AwsRefused, AwsUnavailable: who has issued it is not known here, and cannot be learnt, or
            not now. SNS itself serves it, so no message is to blame.
    """
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.x509 import load_pem_x509_certificates

    try:
        leaf, *others = load_pem_x509_certificates(pem)
        for each in (leaf, *others):  # read only now: what cannot be read raises where it is used
            _ = each.issuer, each.subject, each.extensions
        key = leaf.public_key()
        found = Certificate(key, leaf.not_valid_before_utc, leaf.not_valid_after_utc)  # type: ignore[arg-type]  # looked at below
    except Exception:  # cryptography raises many for what is no certificate
        raise _refused("what its URL serves is no certificate") from None
    if not isinstance(key, RSAPublicKey) or key.key_size < _SMALLEST_KEY:
        raise _refused("the certificate's key is no RSA key of 2,048 bits or more")
    if leaf.issuer == leaf.subject:
        raise _refused("the certificate was issued by itself")
    if len(others) >= _MOST_IN_A_FILE:
        raise _refused("what its URL serves holds too many certificates")
    moment = min(now, found.not_after)
    if now < found.not_before or now - moment > OUTLIVED:
        raise _refused("the certificate is not valid at this time")
    _require_chain(leaf, [*others, *known_intermediates()], names, moment)
    return found


@cache
def known_intermediates() -> tuple[x509.Certificate, ...]:
    """Read the issuers that this version knows: "Amazon RSA 2048 M01" to M04, until 2030."""
    from cryptography.x509 import load_pem_x509_certificates

    file = Path(__file__).with_name("amazon_intermediates.pem")
    return tuple(load_pem_x509_certificates(file.read_bytes()))


def roots() -> list[x509.Certificate]:
    """Read the roots of certifi. China's certificates hang on others than Amazon's own."""
    import certifi
    from cryptography.utils import CryptographyDeprecationWarning
    from cryptography.x509 import load_pem_x509_certificate

    found = []
    with warnings.catch_warnings():
        # One of them has a negative serial number, which cryptography is going to refuse.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        for pem in _PEM.findall(Path(certifi.where()).read_bytes()):
            with suppress(ValueError):
                found.append(load_pem_x509_certificate(pem))
    return found


def _require_chain(
    leaf: x509.Certificate,
    intermediates: list[x509.Certificate],
    names: Iterable[str],
    moment: datetime,
) -> None:
    from cryptography.x509 import DNSName
    from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

    anchors = roots()
    if all(each.subject != leaf.issuer for each in [*anchors, *intermediates]):
        intermediates = [*intermediates, _issuer(leaf)]
    policy = PolicyBuilder().store(Store(anchors)).time(moment.astimezone(UTC).replace(tzinfo=None))
    for name in names:
        try:
            policy.build_server_verifier(DNSName(name)).verify(leaf, intermediates)
        except VerificationError:
            continue
        return
    raise _refused("the certificate is not SNS's, or nobody who is trusted has issued it")


def _issuer(leaf: x509.Certificate) -> x509.Certificate:
    """Fetch who has issued a certificate; its own signature is looked at with the chain."""
    from cryptography.x509 import load_der_x509_certificate

    url = _issuer_url(leaf)
    if url is None:
        raise AwsRefused(
            "SNS's signatures cannot be verified: who has issued its certificate is not known to "
            "this version of dpp_feedback. Take a newer one, or set SNS_VERIFY=false."
        )
    try:
        return load_der_x509_certificate(get(url))
    except (NotServed, ValueError):
        raise unavailable(url, "no certificate of an issuer is there") from None


def _issuer_url(leaf: x509.Certificate) -> str | None:
    from cryptography.x509 import AuthorityInformationAccess, UniformResourceIdentifier
    from cryptography.x509.oid import AuthorityInformationAccessOID

    try:
        said = leaf.extensions.get_extension_for_class(AuthorityInformationAccess).value
    except Exception:  # there is none, or one that cannot be read
        return None
    for each in said:
        where = each.access_location
        if (
            each.access_method == AuthorityInformationAccessOID.CA_ISSUERS
            and isinstance(where, UniformResourceIdentifier)
            and _AMAZON_TRUST.fullmatch(where.value)
        ):
            return where.value
    return None


def _refused(detail: str) -> Refused:
    return Refused(RejectedReason.BAD_CERTIFICATE, detail)
