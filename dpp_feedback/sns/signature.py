"""What SNS signs of an envelope, and whether a key has signed it.

By "Verifying the signatures of Amazon SNS messages" in SNS's developer guide. Nothing here knows
where a key comes from.
"""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any

from dpp_feedback.feedback.events import RejectedReason
from dpp_feedback.feedback.values import Refused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_CONFIRMATION = (
    "Message",
    "MessageId",
    "SubscribeURL",
    "Timestamp",
    "Token",
    "TopicArn",
    "Type",
)
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
_OPTIONAL = "Subject"
_LONGEST = 2048  # characters of a signature; of a key of 8,192 bits it has 1,368
TURN_OFF_RAW = (
    "turn RawMessageDelivery off and subscribe the queue to the topic itself, or set "
    "SNS_VERIFY=false"
)


def string_to_sign(envelope: dict[str, Any]) -> bytes:
    """Put together what SNS has signed: names and values in the order of the names, a line each.

    Args:
        envelope: as it was decoded.

    Raises:
        Refused: its type is none that SNS signs; a signed field is missing, or no text.
    """
    kind = envelope.get("Type")
    fields = _SIGNED.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise Refused(RejectedReason.UNSIGNED, "the envelope has none of the types that SNS signs")
    lines = []
    for name in fields:
        value = envelope.get(name)
        if value is None and name == _OPTIONAL:
            continue
        if not isinstance(value, str):
            detail = f"{name}, which SNS signs, is no text or missing"
            raise Refused(RejectedReason.BAD_SIGNATURE, detail)
        lines += [name, value]
    return "".join(f"{line}\n" for line in lines).encode()


def signature_of(envelope: dict[str, Any]) -> tuple[str, bytes]:
    """Return the version, "1" or "2", and the bytes of the signature.

    Raises:
        Refused: there is none, or none of these.
    """
    written, version = envelope.get("Signature"), envelope.get("SignatureVersion")
    if written is None and version is None:
        detail = f"an envelope without SNS's signature: {TURN_OFF_RAW}"
        raise Refused(RejectedReason.UNSIGNED, detail)
    if version not in ("1", "2"):
        raise Refused(RejectedReason.BAD_SIGNATURE, "SignatureVersion is neither 1 nor 2")
    if not isinstance(written, str) or len(written) > _LONGEST:
        raise Refused(RejectedReason.BAD_SIGNATURE, "Signature is no text, or too long")
    try:
        return version, b64decode(written, validate=True)
    except ValueError:
        raise Refused(RejectedReason.BAD_SIGNATURE, "Signature is not base64") from None


def require_signed(key: RSAPublicKey, version: str, signature: bytes, signed: bytes) -> None:
    """Make sure that the owner of the key has signed this: SHA1 in version 1, SHA256 in 2.

    Raises:
        Refused: it is another's signature, or of another text.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    # What version 1 signs is SNS's choice; nobody else picks the text, so collisions do not help.
    digest = hashes.SHA256() if version == "2" else hashes.SHA1()  # noqa: S303 - see above
    try:
        key.verify(signature, signed, PKCS1v15(), digest)
    except InvalidSignature:
        detail = "the signature does not fit: the body was changed, or SNS did not write it"
        raise Refused(RejectedReason.BAD_SIGNATURE, detail) from None
