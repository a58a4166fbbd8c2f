"""Calls that go past boto3: signed, trusted, sent and refused as boto3's own are.

The SQS is benchmarks/loopback_sqs; where TLS, a proxy or an answer of the test's own is needed, a
real HTTP server stands before it.
"""

from __future__ import annotations

import gc
import json
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError

from benchmarks.loopback_sqs.faults import Fault
from dpp_feedback import event_loop, sqs_calls
from dpp_feedback import queue as queue_module
from dpp_feedback.aws_errors import AwsRefused, AwsUnavailable
from dpp_feedback.errors import FeedbackError
from dpp_feedback.resources import FeedbackQueue
from dpp_feedback_tests.http_front import Answer, Front, Heard, certify, front

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.loopback_sqs.control import LoopbackSqs
    from benchmarks.loopback_sqs.faults import Kind
    from dpp_feedback.queue import Queue

NOW = datetime(2026, 2, 17, 8, 30, tzinfo=UTC)
RECEIVE = {"MaxNumberOfMessages": 10, "WaitTimeSeconds": 0}


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqs_calls, "uniform", lambda *_: 0)


@pytest.fixture
def name(loopback: LoopbackSqs, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a queue with 25 messages, which the environment names."""
    name = uuid4().hex
    loopback.create(name)
    loopback.load(name, [f"body {number}" for number in range(25)])
    for variable, value in loopback.environment(name, name).items():
        monkeypatch.setenv(variable, value)
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)
    for variable in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    return name


@pytest.fixture
def before(loopback: LoopbackSqs, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """The server that the environment names, before the SQS."""
    assert name
    with front(loopback.url) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


def _queue() -> Queue:
    return FeedbackQueue().connect()


def _call(queue: Queue, operation: str = "ReceiveMessage", **request: Any) -> dict[str, Any]:
    async def call() -> dict[str, Any]:
        async with queue._calls.opened():
            return await queue._calls.call(operation, RECEIVE | request)

    return event_loop.run(call)


def _access_key(heard: Heard) -> str:
    return heard.headers["authorization"].partition("Credential=")[2].partition("/")[0]


@pytest.mark.parametrize(
    ("region", "endpoint", "fips"),
    [
        ("ap-northeast-2", None, "false"),
        ("us-east-1", None, "true"),
        ("cn-north-1", None, "false"),
        ("us-gov-west-1", None, "false"),
        ("eu-central-1", "http://127.0.0.1:4577", "false"),
        ("eu-central-1", "https://sqs.internal.example:8443/some/path", "false"),
        ("eu-central-1", "https://SQS.Example/", "false"),
    ],
)
@pytest.mark.parametrize("token", [None, "a session's token"])
def test_a_request_is_signed_and_addressed_as_botocore_does_it(
    monkeypatch: pytest.MonkeyPatch, region: str, endpoint: str | None, fips: str, token: str | None
) -> None:
    monkeypatch.setenv("AWS_REGION", region)
    monkeypatch.setenv("SQS_QUEUE_URL", "https://queues.example/123456789012/feedback")
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", fips)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda **_: NOW.replace(tzinfo=None))
    queue, sent = _queue(), []

    def unsent(request: Any, **_: object) -> None:
        sent.append(request)
        raise BotoCoreError

    queue._client.meta.events.register("before-send.sqs", unsent)
    with pytest.raises(AwsRefused):
        queue.receive_batch(10, None)
    (theirs,) = sent

    async def signed() -> dict[str, str]:
        return await queue._calls._signed("ReceiveMessage", theirs.body)

    ours = {name.lower(): value for name, value in event_loop.run(signed).items()}
    named = {
        name.lower(): value.decode() if isinstance(value, bytes) else value
        for name, value in theirs.headers.items()
    }
    signed_headers = named["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    for header in (*signed_headers.split(";"), "authorization"):
        if header != "host":
            assert ours[header] == named[header]
    assert ours.get("x-amz-security-token") == token
    assert theirs.url.rstrip("/") == queue._calls._endpoint.rstrip("/")


def test_what_goes_over_the_wire_is_what_was_signed(before: Front) -> None:
    _call(_queue())
    (heard,) = before.heard
    assert heard.method == "POST"
    assert json.loads(heard.body) == RECEIVE | {"QueueUrl": _queue().url}
    assert heard.headers["host"] == before.url.removeprefix("http://")
    names = ("content-type", "x-amz-target", "x-amzn-query-mode")
    again = AWSRequest("POST", before.url, {n: heard.headers[n] for n in names}, heard.body)
    again.context["timestamp"] = heard.headers["x-amz-date"]
    auth = SigV4Auth(ReadOnlyCredentials("test", "test", None), "sqs", "us-east-1")
    again.headers["X-Amz-Date"] = heard.headers["x-amz-date"]
    signature = auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)
    assert heard.headers["authorization"].endswith(f"Signature={signature}")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_ca_of_ones_own_is_trusted_where_boto3_trusts_it_and_nothing_stays_open(
    loopback: LoopbackSqs,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    bundle, certificate = certify(tmp_path)
    monkeypatch.setenv(variable, str(bundle))
    with front(loopback.url, certificate) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        queue = _queue()
        messages = queue.receive(100, 30).messages
        assert len(messages) == 25
        assert queue.acknowledge(messages) == {}
        gc.collect()  # what is not closed warns now
    assert len(loopback.contents(name).deleted) == 25


@pytest.mark.usefixtures("name")
@pytest.mark.parametrize(("address", "trusted"), [("127.0.0.1", False), ("127.0.0.2", True)])
def test_a_certificate_that_nobody_vouches_for_or_of_another_host_is_refused(
    loopback: LoopbackSqs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    trusted: bool,
) -> None:
    bundle, certificate = certify(tmp_path, address)
    if trusted:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    with front(loopback.url, certificate) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        queue = _queue()
        for receive in (lambda: queue.receive(100, 30), lambda: queue.receive_batch(10, None)):
            with pytest.raises(AwsUnavailable) as caught:
                receive()
            assert str(caught.value) == (
                "SQS does not answer as itself (SSLError): check AWS_ENDPOINT_URL, and name the "
                "certificates of a proxy that looks into TLS in AWS_CA_BUNDLE."
            )
    assert server.heard == []


@pytest.mark.usefixtures("name")
def test_a_bundle_that_is_not_there_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:1")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    with pytest.raises(AwsRefused, match=r"No such file or directory.*check the AWS_\.\.\."):
        _queue().receive(100, 30)


@pytest.mark.usefixtures("name")
@pytest.mark.parametrize("written", ["http://{}", "{}", "//{}", "http://me:pass%40word@{}"])
def test_a_proxy_of_the_environment_is_used(
    loopback: LoopbackSqs, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    with front(loopback.url) as proxy:
        monkeypatch.setenv("HTTP_PROXY", written.format(proxy.url.removeprefix("http://")))
        queue = _queue()
        assert len(queue.receive(100, 30).messages) == 25
        assert {heard.target for heard in proxy.heard} == {f"{loopback.url}/"}
        password = {heard.headers.get("proxy-authorization") for heard in proxy.heard}
        assert password == {"Basic bWU6cGFzc0B3b3Jk" if "@" in written else None}
        proxy.heard.clear()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert len(queue.receive(100, 30).messages) == 0
        assert proxy.heard == []


@pytest.mark.usefixtures("name")
def test_a_proxy_passes_tls_on_untouched(
    loopback: LoopbackSqs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, certificate = certify(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    with front(loopback.url, certificate) as server, front(loopback.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//me:secret@"))
        assert len(_queue().receive(100, 30).messages) == 25
        said = {(one.method, one.target, one.headers["proxy-authorization"]) for one in proxy.heard}
        assert said == {("CONNECT", server.url.removeprefix("https://"), "Basic bWU6c2VjcmV0")}
        assert {heard.method for heard in server.heard} == {"POST"}
        assert not any("proxy-authorization" in heard.headers for heard in server.heard)


@pytest.mark.usefixtures("name")
@pytest.mark.parametrize("trouble", ["refuses", "is away", "hangs"])
def test_a_proxy_that_does_not_work_is_named_without_its_password(
    loopback: LoopbackSqs, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr(sqs_calls, "CONNECT_SECONDS", 0.3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://sqs.us-east-1.example")
    with front(loopback.url) as proxy:
        proxy.answer, proxy.hangs = Answer(407), trouble == "hangs"
        url = "http://127.0.0.1:1" if trouble == "is away" else proxy.url
        monkeypatch.setenv("HTTPS_PROXY", url.replace("//", "//me:secret@"))
        with pytest.raises(AwsUnavailable) as caught:
            _call(_queue())
        assert len(proxy.heard) == (0 if trouble == "is away" else 3)
    error = "ConnectTimeoutError" if trouble == "hangs" else "ProxyConnectionError"
    assert str(caught.value).startswith(f"SQS does not answer ({error}): check AWS_REGION")
    assert "secret" not in repr(caught.value)


def _refreshable(queue: Queue, clock: list[datetime], refresh: Any) -> None:
    """Give the session credentials that expire an hour after NOW, by a clock of the test's own."""
    session: Any = queue._calls._session
    session._credentials = RefreshableCredentials(
        "key 1",
        "secret",
        "token 1",
        NOW + timedelta(hours=1),
        refresh_using=refresh,
        method="test",
        time_fetcher=lambda: clock[0],
    )


def _renewed() -> dict[str, str]:
    expiry = NOW + timedelta(hours=3)
    return {
        "access_key": "key 2",
        "secret_key": "secret",
        "token": "token 2",
        "expiry_time": expiry.isoformat(),
    }


def test_credentials_that_are_renewed_midway_sign_all_that_follows(
    before: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Renewed ones are judged by botocore's own clock.
    monkeypatch.setattr("botocore.credentials._local_now", lambda: NOW)
    queue, clock, renewals = _queue(), [NOW], []

    def refresh() -> dict[str, str]:
        renewals.append(clock[0])
        return _renewed()

    _refreshable(queue, clock, refresh)

    async def work() -> None:
        async with queue._calls.opened():
            await queue._calls.call("ReceiveMessage", RECEIVE)
            clock[0] += timedelta(minutes=55)
            for _ in range(2):
                await queue._calls.call("ReceiveMessage", RECEIVE)

    event_loop.run(work)
    signed = [(_access_key(one), one.headers["x-amz-security-token"]) for one in before.heard]
    assert signed == [("key 1", "token 1"), ("key 2", "token 2"), ("key 2", "token 2")]
    assert renewals == [NOW + timedelta(minutes=55)]


def test_renewing_credentials_holds_up_no_other_call(before: Front) -> None:
    queue = _queue()

    def refresh() -> dict[str, str]:
        end = monotonic() + 20
        while not before.heard:  # the other call, with what is still valid
            assert monotonic() < end, "the event loop waits for the renewal"
            sleep(0.01)
        return _renewed()

    # 13 minutes are left: from 15 on botocore renews, and until 10 it need not wait.
    _refreshable(queue, [NOW + timedelta(minutes=47)], refresh)
    assert len(queue.receive(20, 30).messages) == 20
    assert "key 1" in {_access_key(heard) for heard in before.heard}


def test_the_role_of_a_pod_signs_with_what_sts_gives_it(
    before: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("a web identity token")
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/feedback")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    expiry = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    with front("") as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        sts.answer = Answer(
            200,
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
            "<AccessKeyId>of the role</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
            f"<SessionToken>of the session</SessionToken><Expiration>{expiry}</Expiration>"
            "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>".encode(),
        )
        assert len(_queue().receive(100, 30).messages) == 25
        assert len(sts.heard) == 1
    signed = {(_access_key(one), one.headers["x-amz-security-token"]) for one in before.heard}
    assert signed == {("of the role", "of the session")}


@pytest.mark.parametrize(
    ("status", "code", "message", "legacy"),
    [
        (400, "QueueDoesNotExist", "no", "AWS.SimpleQueueService.NonExistentQueue;Sender"),
        (403, "AccessDeniedException", "User: x is not authorized", "AccessDenied;Sender"),
        (403, "OverLimit", "no", ""),
        (400, "KmsAccessDenied", "no", "KMS.AccessDeniedException;Sender"),
        (400, "RequestThrottled", "no", ""),
        (403, "InvalidSignatureException", "no", "InvalidSignatureException;Sender"),
        (500, "InternalFailure", "no", "InternalFailure;Receiver"),
        (418, "SomethingNew", "no", ""),
    ],
)
def test_an_error_is_said_as_boto3s_own_is(
    before: Front,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    message: str,
    legacy: str,
) -> None:
    said = {"__type": f"com.amazonaws.sqs#{code}", "message": message}
    headers = {"x-amzn-query-error": legacy} if legacy else {}
    _assert_same(before, monkeypatch, Answer(status, json.dumps(said).encode(), headers))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, b"<html>Service Unavailable</html>"),
        (403, b"<html>Blocked by your company</html>"),
        (404, b""),
        (302, b"<html>Sign in</html>"),
        (400, b'{"__type": "com.amazonaws.sqs#Requ'),
        (400, b'["QueueDoesNotExist"]'),
        (400, b"null"),
        (400, b'"a string"'),
        (400, b"{}"),
    ],
)
def test_an_error_that_is_not_sqss_is_said_as_boto3s_own_is(
    before: Front, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes
) -> None:
    _assert_same(before, monkeypatch, Answer(status, body, {"Location": "http://portal.example"}))


def _assert_same(before: Front, monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    for module in (queue_module, sqs_calls):
        monkeypatch.setattr(module, "ATTEMPTS", 1)
    before.answer, queue = answer, _queue()
    with pytest.raises(FeedbackError) as theirs:
        queue.receive_batch(10, None)
    with pytest.raises(FeedbackError) as ours:
        queue.receive(10, 30)
    assert (type(ours.value), str(ours.value)) == (type(theirs.value), str(theirs.value))
    assert len(before.heard) == 2


@pytest.mark.parametrize(
    "body", [b"<html>Sign in</html>", b"", b'{"Messages": [', b"[]", b"null", b'{"Messages": [{}]}']
)
def test_an_answer_that_is_not_sqss_is_said_to_be_none(before: Front, body: bytes) -> None:
    before.answer = Answer(200, body)
    with pytest.raises(AwsUnavailable, match="What answered ReceiveMessage does not speak as SQS"):
        _queue().receive(10, 30)


def test_half_of_a_surrogate_pair_in_one_body_hides_no_other(before: Front) -> None:
    attributes = {"SentTimestamp": "1771317000000", "ApproximateReceiveCount": "1"}
    before.answer = Answer(
        200,
        json.dumps(
            {
                "Messages": [
                    {"MessageId": b, "ReceiptHandle": b, "Body": b, "Attributes": attributes}
                    for b in ("half \ud800", "a good one")
                ]
            }
        ).encode(),
    )
    assert b"\\ud800" in before.answer.body
    taken = _queue().receive(2, 30)
    assert {message.body for message in taken.messages} == {"half \ud800", "a good one"}


@pytest.mark.parametrize(
    ("kind", "attempts", "said"),
    [
        ("throttle", 3, "SQS cannot do ReceiveMessage now: RequestThrottled (400). Try again."),
        ("error500", 3, "SQS cannot do ReceiveMessage now: InternalFailure (500). Try again."),
        ("unavailable503", 3, "SQS cannot do ReceiveMessage now: ServiceUnavailable (503)."),
        ("hang", 3, "SQS does not answer (ReadTimeoutError)"),
        ("reset", 3, "SQS does not answer (ConnectionClosedError)"),
        ("reset_after", 3, "SQS does not answer (ConnectionClosedError)"),
        ("cut", 3, "SQS does not answer (ConnectionClosedError)"),
        ("garbage", 3, "What answered ReceiveMessage does not speak as SQS does"),
        ("expired_token", 1, "SQS refused ReceiveMessage (ExpiredToken): the credentials have"),
        ("access_denied", 1, "The role may not call sqs:ReceiveMessage on "),
        ("not_found", 1, "SQS_QUEUE_URL names a queue that does not exist"),
    ],
)
@pytest.mark.usefixtures("name")
def test_what_may_pass_is_tried_three_times_and_what_will_not_is_not(
    loopback: LoopbackSqs, monkeypatch: pytest.MonkeyPatch, kind: Kind, attempts: int, said: str
) -> None:
    monkeypatch.setattr(sqs_calls, "READ_SECONDS", 0.3)
    loopback.faults([Fault(kind)])
    error = AwsUnavailable if attempts == 3 else AwsRefused
    with pytest.raises(error) as caught:
        _call(_queue())
    assert str(caught.value).startswith(said)
    assert loopback.stats().requests == {"ReceiveMessage": attempts}
    loopback.reset_stats()
    loopback.faults([Fault(kind, times=attempts - 1)])
    lost = attempts - 1 if kind in ("cut", "reset_after") else 0
    came = _call(_queue()).get("Messages", [])
    assert len(came) == max(0, min(10, 25 - 10 * (lost + (3 if lost else 0))))
    assert loopback.stats().requests == {"ReceiveMessage": attempts}


def test_nobody_listens(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert name
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(AwsUnavailable, match=r"SQS does not answer \(EndpointConnectionError\)"):
        _call(_queue())


@pytest.mark.usefixtures("name")
def test_without_credentials_nothing_is_sent(
    loopback: LoopbackSqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with pytest.raises(AwsRefused, match="No AWS credentials: give the pod's service account"):
        _call(_queue())
    assert loopback.stats().requests == {}
