"""Which certificate is SNS's: its URL, its names, its time, its chain; and what a forgery costs."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from dpp_feedback.aws_errors import AwsRefused, AwsUnavailable
from dpp_feedback.feedback.events import RejectedReason
from dpp_feedback.feedback.parser import parse
from dpp_feedback.feedback.values import Refused
from dpp_feedback.sns import certificates, fetch
from dpp_feedback.sns.certificates import MOST_FAILED, MOST_KEPT, Certificates
from dpp_feedback.sns.trust import OUTLIVED, known_intermediates, trusted
from dpp_feedback_tests.sns.authority import (
    DAY,
    HOST,
    NOW,
    PATH,
    REGION,
    URL,
    body,
    issue,
    notification,
    rsa_key,
    signed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from dpp_feedback.sns.check import SnsCheck
    from dpp_feedback_tests.sns.conftest import Authority, Served

NAME = "sns.amazonaws.com"
HERE = Path(__file__).parent


def refusal(url: object = URL, region: str = REGION) -> str:
    with pytest.raises(Refused) as caught:
        Certificates(region).of(url)
    assert caught.value.reason == RejectedReason.BAD_CERTIFICATE
    return caught.value.detail


def other(number: int) -> str:
    return f"/SimpleNotificationService-{number:032x}.pem"


@pytest.mark.parametrize(
    "url",
    [
        "",
        None,
        7,
        ["x"],
        PATH,
        URL.replace("https", "http"),
        URL.replace("https", "HTTPS"),
        URL.replace("https://", "https:/"),
        URL.replace("https://", "//"),
        URL.replace("https://", "file://"),
        URL.replace(HOST, "evil.example"),
        URL.replace(HOST, f"{HOST}.evil.example"),
        URL.replace(HOST, f"{HOST}."),
        URL.replace(HOST, f"evil.example#{HOST}"),
        URL.replace(HOST, f"evil.example/{HOST}"),
        URL.replace(HOST, f"evil.example\\.{HOST}"),
        URL.replace(HOST, f"{HOST}@evil.example"),
        URL.replace(HOST, f"user:password@{HOST}"),
        URL.replace(HOST, f"@{HOST}"),
        URL.replace(HOST, f"{HOST}:443"),
        URL.replace(HOST, f"{HOST}:8443"),
        URL.replace(HOST, f"{HOST}:"),
        URL.replace(HOST, HOST.upper()),
        URL.replace(HOST, f"evil.{HOST}"),
        URL.replace(HOST, "sns.us-east-1.amazonaws.com"),
        URL.replace(HOST, "sns.amazonaws.com"),
        URL.replace(HOST, "snsx.ap-northeast-2.amazonaws.com"),
        URL.replace(HOST, "sns-ap-northeast-2.amazonaws.com"),
        URL.replace(HOST, "sqs.ap-northeast-2.amazonaws.com"),
        URL.replace(HOST, "s3.ap-northeast-2.amazonaws.com"),
        URL.replace(HOST, "sns.s3.ap-northeast-2.amazonaws.com"),
        URL.replace(HOST, "sns.ap-northeast-2.amazonaws.com.cn"),
        URL.replace(HOST, "sns.ap-northeast-2.amazonaws.co"),
        URL.replace(HOST, "sns.ap-northeast-2.amazonaws。com"),
        URL.replace(HOST, "\u0455ns.ap-northeast-2.amazonaws.com"),
        URL.replace(HOST, "sns%2eap-northeast-2.amazonaws.com"),
        URL.replace(HOST, "xn--sns.ap-northeast-2.amazonaws.com"),
        URL.replace(HOST, "127.0.0.1"),
        URL.replace(HOST, "[::1]"),
        URL.replace(HOST, "169.254.169.254"),
        URL + "?x=1",
        URL + "?",
        URL + "#x",
        URL + "#",
        URL + "/",
        URL + "\n",
        " " + URL,
        URL + " ",
        URL + "\0",
        URL + ".txt",
        URL.replace(".pem", ".PEM"),
        URL.replace(".pem", "%2epem"),
        URL.replace("/Simple", "//Simple"),
        URL.replace("/Simple", "/../Simple"),
        URL.replace("/Simple", "/x/Simple"),
        URL.replace("/Simple", "/%2e%2e/Simple"),
        URL.replace("/Simple", "\\Simple"),
        URL.replace("/Simple", ";/Simple"),
        URL.replace("0123", "xyz!"),
        URL.replace("0123", "0/23"),
        URL.replace("0123", "٠١٢٣"),
        URL.replace("cdef", "CDEF"),
        f"https://{HOST}/SimpleNotificationService-.pem",
        f"https://{HOST}/SimpleNotificationService-{'0' * 65}.pem",
        f"https://{HOST}/SimpleNotificationService-{'0' * 100_000}.pem",
        f"https://{HOST}/?Action=Publish",
        f"https://{HOST}/",
        f"https://{HOST}",
    ],
    ids=lambda url: ascii(url)[:100],
)
def test_a_url_that_is_not_exactly_sns_own_is_never_fetched(url: object, sns_host: Served) -> None:
    assert "SigningCertURL" in refusal(url)
    assert not sns_host.heard


@pytest.mark.parametrize(
    ("region", "host", "name"),
    [
        ("us-east-1", "sns.us-east-1.amazonaws.com", NAME),
        ("af-south-1", "sns.af-south-1.amazonaws.com", "sns-signing.af-south-1.amazonaws.com"),
        ("cn-north-1", "sns.cn-north-1.amazonaws.com.cn", "sns-cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "sns.us-gov-west-1.amazonaws.com", "sns-us-gov-west-1.amazonaws.com"),
        ("us-gov-east-1", "sns.us-gov-east-1.amazonaws.com", "sns-us-gov-west-1.amazonaws.com"),
    ],
)
def test_every_partition_has_its_host_and_its_name(
    region: str,
    host: str,
    name: str,
    authority: Authority,
    sns_host: Served,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    leaf = issue("regional", authority.intermediate, names=[name])

    def get(url: str) -> bytes:
        asked.append(url)
        return leaf.pem + authority.intermediate.pem

    monkeypatch.setattr(certificates, "get", get)
    found = Certificates(region).of(f"https://{host}{PATH}")
    assert found.key == leaf.key.public_key()
    assert asked == [f"https://{host}{PATH}"]
    assert not sns_host.heard


def test_a_genuine_certificate_of_sns_hangs_on_a_root_of_certifi() -> None:
    """That of Africa (Cape Town), as SNS served it in October 2026: the leaf alone."""
    pem = (HERE / "africa.pem").read_bytes()
    now = datetime(2026, 11, 1, tzinfo=UTC)
    found = trusted(pem, Certificates("af-south-1").names, now)
    assert found.not_after == datetime(2027, 2, 7, 23, 59, 59, tzinfo=UTC)
    for region in ("eu-south-1", "us-east-1"):
        with pytest.raises(Refused):
            trusted(pem, Certificates(region).names, now)


def test_the_known_issuers_are_amazons_and_have_years_left() -> None:
    assert [each.subject.rfc4514_string() for each in known_intermediates()] == [
        f"CN=Amazon RSA 2048 M0{number},O=Amazon,C=US" for number in range(1, 5)
    ]
    for each in known_intermediates():
        # This fails a year before the file is worth nothing: then take the newer ones.
        assert each.not_valid_after_utc > NOW + 365 * DAY


@pytest.mark.parametrize(
    ("starts", "ends", "good"),
    [
        (-30 * DAY, 30 * DAY, True),
        (-30 * DAY, -DAY, True),  # it may have signed what waits since
        (-90 * DAY, -OUTLIVED - DAY, False),
        (DAY, 30 * DAY, False),
    ],
)
def test_a_certificate_counts_while_messages_that_it_signed_may_wait(
    starts: timedelta, ends: timedelta, good: bool, authority: Authority, sns_host: Served
) -> None:
    by = authority.intermediate
    leaf = issue(NAME, by, names=[NAME], not_before=NOW + starts, not_after=NOW + ends)
    sns_host.put(leaf.pem + by.pem)
    if good:
        assert Certificates(REGION).of(URL).key == leaf.key.public_key()
    else:
        assert "not valid at this time" in refusal()


def test_an_expired_certificate_verifies_only_what_was_signed_before(
    authority: Authority, sns_host: Served, check: SnsCheck
) -> None:
    leaf = issue(NAME, authority.intermediate, names=[NAME], not_after=NOW - 2 * DAY)
    sns_host.put(leaf.pem + authority.intermediate.pem)

    def outcome(moment: datetime | str) -> object:
        written = moment if isinstance(moment, str) else moment.isoformat()
        return parse(body(signed(notification(Timestamp=written), authority.key)), NOW, check)

    assert isinstance(outcome(NOW - 3 * DAY), tuple)
    for late in (NOW, NOW - DAY, NOW - 40 * DAY, "yesterday"):
        assert getattr(outcome(late), "reason", None) == "bad_certificate"


def test_certificates_that_are_not_sns_own_are_refused(
    authority: Authority, sns_host: Served
) -> None:
    by, pem = authority.intermediate, authority.intermediate.pem
    no_ca = issue("No authority", authority.root, names=[NAME])
    for_clients = ExtendedKeyUsageOID.CLIENT_AUTH
    elliptic = ec.generate_private_key(ec.SECP256R1())
    stranger = issue(
        "Intermediate of the tests", issue("Stranger", ca=True), ca=True, key=rsa_key("stranger's")
    )
    for served in (
        issue("x", by, names=["sns.amazonaws.com.evil.example"]).pem + pem,
        issue(NAME, by, names=["sqs.amazonaws.com"]).pem + pem,
        issue(NAME, by, names=["*.amazonaws.com.evil.example"]).pem + pem,
        issue(NAME, by, names=["sns.us-east-1.amazonaws.com"]).pem + pem,
        issue(NAME, by).pem + pem,  # a common name alone is none
        issue(NAME, names=[NAME]).pem,
        authority.garbled + pem,
        authority.leaf.pem + authority.garbled,
        issue(NAME, by, names=[NAME], purpose=for_clients).pem + pem,
        issue(NAME, by, names=[NAME], purpose=ExtendedKeyUsageOID.CODE_SIGNING).pem + pem,
        issue(NAME, by, names=[NAME], ca=True).pem + pem,
        issue(NAME, no_ca, names=[NAME]).pem + no_ca.pem,
        issue(NAME, stranger, names=[NAME], key=rsa_key("other")).pem + stranger.pem,
        issue(NAME, stranger, names=[NAME], key=rsa_key("other")).pem + pem,
        issue(NAME, by, names=[NAME], key=rsa_key("short", 1024)).pem + pem,
        issue(NAME, by, names=[NAME], key=elliptic).pem + pem,
        pem,
        authority.root.pem,
        authority.leaf.pem + pem * 20,
        authority.leaf.certificate.public_bytes(Encoding.DER),
        authority.leaf.pem[:-200],
        authority.leaf.key_pem,
        b"",
        b"\0" * 1000,
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"<html>",
    ):
        sns_host.put(served)
        assert "certificate" in refusal()


def test_an_issuer_that_is_not_known_is_no_fault_of_a_message(
    authority: Authority, sns_host: Served
) -> None:
    """SNS itself serves it over TLS: not the message but what is known here falls short."""
    sns_host.put(authority.leaf.pem)
    with pytest.raises(AwsRefused, match="not known to this version"):
        Certificates(REGION).of(URL)


def test_a_url_that_cannot_be_judged_is_blamed_once_another_can_be(
    authority: Authority, sns_host: Served
) -> None:
    ours = Certificates(REGION)
    sns_host.put(b"", other(1), status=503)
    sns_host.put(authority.leaf.pem, other(2))
    odd = [f"https://{HOST}{other(number)}" for number in (1, 2)]
    for url, error in zip(odd, (AwsUnavailable, AwsRefused), strict=True):
        for _ in range(2):
            with pytest.raises(error):
                ours.of(url)
    assert sns_host.heard == [other(1)] * 3 + [other(2)]  # not again and again
    ours.of(URL)
    for url in odd:
        with pytest.raises(Refused, match="but at another"):
            ours.of(url)
    sns_host.put(authority.chain, other(1))
    ours.require_reachable()
    ours.of(odd[0])


def test_a_new_issuer_of_amazon_is_fetched_and_proves_itself(
    authority: Authority, sns_host: Served, amazon_trust: Served
) -> None:
    where = "http://crt.r2m09.amazontrust.com/r2m09.cer"
    new = issue("New intermediate", authority.root, ca=True)
    forged = issue("New intermediate", issue("Stranger", ca=True), ca=True)
    sns_host.put(issue(NAME, new, names=[NAME], issuer_url=where).pem)
    with pytest.raises(AwsUnavailable, match="port 80"):
        Certificates(REGION).of(URL)
    amazon_trust.put(forged.certificate.public_bytes(Encoding.DER), "/r2m09.cer")
    assert "nobody who is trusted" in refusal()
    amazon_trust.put(new.certificate.public_bytes(Encoding.DER), "/r2m09.cer")
    Certificates(REGION).of(URL)
    assert amazon_trust.heard == ["/r2m09.cer"] * 3


@pytest.mark.parametrize(
    "where",
    [
        "http://crt.r2m09.amazontrust.com.evil.example/r2m09.cer",
        "http://crt.r2m09.amazontrust.com@evil.example/r2m09.cer",
        "http://crt.r2m09.amazontrust.com:81/r2m09.cer",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
    ],
)
def test_an_issuer_is_fetched_from_nobody_else(
    where: str, authority: Authority, sns_host: Served, amazon_trust: Served
) -> None:
    new = issue("New intermediate", authority.root, ca=True)
    sns_host.put(issue(NAME, new, names=[NAME], issuer_url=where).pem)
    with pytest.raises(AwsRefused):
        Certificates(REGION).of(URL)
    assert not amazon_trust.heard


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int, authority: Authority, sns_host: Served) -> None:
    sns_host.put(authority.chain, other(1))
    sns_host.put(b"", status=status, Location=f"https://{HOST}{other(1)}")
    assert "serves no certificate" in refusal()
    assert sns_host.heard == [PATH]


@pytest.mark.parametrize("status", [204, 400, 403, 404, 410])
def test_a_url_without_a_certificate_is_the_messages_fault(status: int, sns_host: Served) -> None:
    sns_host.put(b"", status=status)
    assert "serves no certificate" in refusal()


def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    authority: Authority, sns_host: Served
) -> None:
    sns_host.put(authority.chain + b"\n" * 10_000_000)
    assert "serves no certificate" in refusal()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_fault_of_the_host_is_no_messages_fault(status: int, sns_host: Served) -> None:
    sns_host.put(b"", status=status)
    with pytest.raises(AwsUnavailable, match=rf"HTTP {status}.*port 443"):
        Certificates(REGION).of(URL)
    assert sns_host.heard == [PATH] * 3  # tried again


def test_a_fault_that_passes_is_not_noticed(authority: Authority, sns_host: Served) -> None:
    answers: list[tuple[int, bytes, dict[str, str]]] = [(503, b"", {}), (200, authority.chain, {})]

    class Files(dict[str, tuple[int, bytes, dict[str, str]]]):
        def get(self, *_: object) -> tuple[int, bytes, dict[str, str]]:
            return answers.pop(0)

    sns_host.files = Files()
    Certificates(REGION).of(URL)


def test_a_host_that_answers_a_byte_at_a_time_is_given_up(
    sns_host: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_SECONDS_IN_ALL", 0.3)
    sns_host.drip = True
    with pytest.raises(AwsUnavailable, match="too slow"):
        Certificates(REGION).of(URL)


def test_a_host_with_another_ones_certificate_is_not_believed(impostor: Served) -> None:
    for ask in (lambda: Certificates(REGION).of(URL), Certificates(REGION).require_reachable):
        with pytest.raises(AwsUnavailable, match="SSLError"):
            ask()
    assert not impostor.heard


@pytest.mark.usefixtures("nowhere")
def test_a_host_that_does_not_answer_is_no_messages_fault() -> None:
    for ask in (lambda: Certificates(REGION).of(URL), Certificates(REGION).require_reachable):
        with pytest.raises(AwsUnavailable, match=f"{HOST} gives no certificate"):
            ask()


def test_the_host_is_reachable_whatever_it_says(sns_host: Served) -> None:
    Certificates(REGION).require_reachable()
    assert sns_host.heard == ["/"]


@contextmanager
def _proxy(heard: list[bytes]) -> Iterator[str]:
    """A proxy that hears whom it is asked for, and lets nobody through."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for _ in range(3):
                connection, _ = listening.accept()
                with connection:
                    heard.append(connection.recv(4096).split(b"\r\n")[0])
                    connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_the_proxy_of_the_environment_is_asked(
    sns_host: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []
    with _proxy(heard) as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        with pytest.raises(AwsUnavailable, match="ProxyConnectionError"):
            Certificates(REGION).of(URL)
    assert set(heard) == {f"CONNECT {HOST}:443 HTTP/1.0".encode()} or set(heard) == {
        f"CONNECT {HOST}:443 HTTP/1.1".encode()
    }
    assert not sns_host.heard


def test_many_forged_urls_that_come_first_stop_no_good_message(sns_host: Served) -> None:
    ours = Certificates(REGION)
    for number in range(MOST_FAILED - 1):
        with pytest.raises(Refused):
            ours.of(f"https://{HOST}{other(number)}")
    ours.of(URL)
    assert len(sns_host.heard) == MOST_FAILED


def test_urls_that_take_long_to_lead_nowhere_are_not_followed_for_ever(
    sns_host: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000, 25))  # each look at it takes 25 seconds
    monkeypatch.setattr(certificates, "monotonic", lambda: next(clock))
    ours = Certificates(REGION)
    for number in range(10):
        with pytest.raises(Refused):
            ours.of(f"https://{HOST}{other(number)}")
    assert len(sns_host.heard) == 5  # 125 seconds


def test_a_thousand_forged_urls_cost_a_few_fetches_and_stop_no_good_message(
    sns_host: Served,
) -> None:
    ours = Certificates(REGION)
    ours.of(URL)
    for number in range(1000):
        for _ in range(2):
            with pytest.raises(Refused):
                ours.of(f"https://{HOST}{other(number)}")
    assert len(sns_host.heard) == 1 + MOST_FAILED
    ours.of(URL)


def test_refusals_are_forgotten_soon_and_certificates_after_a_while(
    sns_host: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(certificates, "monotonic", lambda: clock[0])
    ours, missing = Certificates(REGION), f"https://{HOST}{other(1)}"
    for moment, fetches in ((0.0, 2), (299.0, 2), (301.0, 3), (3599.0, 4), (3601.0, 5)):
        clock[0] = moment
        ours.of(URL)
        with pytest.raises(Refused):
            ours.of(missing)
        assert len(sns_host.heard) == fetches


def test_no_more_certificates_are_kept_than_a_few(authority: Authority, sns_host: Served) -> None:
    ours = Certificates(REGION)
    for number in range(MOST_KEPT + 1):
        sns_host.put(authority.chain, other(number))
        ours.of(f"https://{HOST}{other(number)}")
    ours.of(f"https://{HOST}{other(1)}")
    assert len(sns_host.heard) == MOST_KEPT + 1
    ours.of(f"https://{HOST}{other(0)}")  # the oldest had to go
    assert len(sns_host.heard) == MOST_KEPT + 2
