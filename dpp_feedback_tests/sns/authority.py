"""A certificate authority of the tests' own, and bodies signed as SNS signs them. No tests here."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from dpp_feedback_tests.bounces import bounce

if TYPE_CHECKING:
    from collections.abc import Sequence

    Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
REGION = "ap-northeast-2"
TOPIC = f"arn:aws:sns:{REGION}:111122223333:bounces"
HOST = f"sns.{REGION}.amazonaws.com"
PATH = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
URL = f"https://{HOST}{PATH}"
# As the developer guide lists them, each in its own line; deliberately not taken from the product.
NOTIFICATION = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
CONFIRMATION = [
    *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
]


@cache
def rsa_key(_name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """A key by name: to make one takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def issue(
    common_name: str,
    issuer: Issued | None = None,
    *,
    names: Sequence[str] = (),
    ca: bool = False,
    key: Key | None = None,
    not_before: datetime = NOW - 30 * DAY,
    not_after: datetime = NOW + 30 * DAY,
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    issuer_url: str | None = None,
) -> Issued:
    """Issue a certificate; without issuer, by itself."""
    key = key or rsa_key(common_name)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    by = issuer or Issued(None, key)  # type: ignore[arg-type]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), critical=False
        )
        .add_extension(
            x509.KeyUsage(
                *(True, False, not ca, False, False, ca, ca, False, False),
            ),
            critical=True,
        )
    )
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if issuer_url:
        where = x509.UniformResourceIdentifier(issuer_url)
        access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where)
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    return Issued(builder.sign(by.key, hashes.SHA256()), key)


def notification(message: str | None = None, **changes: Any) -> dict[str, Any]:
    """An unsigned envelope of SNS around a bounce."""
    return {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Subject": "Amazon SES Email Event Notification",
        "Message": bounce(0) if message is None else message,
        "Timestamp": NOW.isoformat().replace("+00:00", ".123Z"),
        "UnsubscribeURL": f"https://{HOST}/?Action=Unsubscribe",
        **changes,
    }


def confirmation(kind: str = "SubscriptionConfirmation") -> dict[str, Any]:
    return {
        "Type": kind,
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "Token": "2336412f37",
        "TopicArn": TOPIC,
        "Message": "You have chosen to subscribe to the topic.",
        "SubscribeURL": f"https://{HOST}/?Action=ConfirmSubscription",
        "Timestamp": NOW.isoformat(),
    }


def signed(
    envelope: dict[str, Any], key: rsa.RSAPrivateKey, version: str = "2", url: str = URL
) -> dict[str, Any]:
    """Sign an envelope as SNS does."""
    fields = NOTIFICATION if envelope["Type"] == "Notification" else CONFIRMATION
    text = "".join(f"{name}\n{envelope[name]}\n" for name in fields if name in envelope)
    digest = hashes.SHA1() if version == "1" else hashes.SHA256()  # noqa: S303
    signature = key.sign(text.encode(), PKCS1v15(), digest)
    return {
        **envelope,
        "SignatureVersion": version,
        "Signature": b64encode(signature).decode(),
        "SigningCertURL": url,
    }


def body(envelope: dict[str, Any]) -> str:
    return json.dumps(envelope)
