"""Many calls of SQS at the same time, in one event loop.

boto3 takes half a millisecond of a processor for a call, and more on several threads: most of a
drain, which is made of a thousand calls of two kinds (docs/performance.md). Here botocore still
finds credentials, endpoint, proxy and certificates, signs, and reads errors; only the way between
is shorter. The protocol is the one that boto3 speaks: "AWS JSON protocol" in SQS's developer guide.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from dpp_feedback.aws_errors import explaining, not_aws
from dpp_feedback.errors import PassingError
from dpp_feedback.messages import AT_A_TIME

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping

    import aiohttp
    from botocore.session import Session
    from mypy_boto3_sqs import SQSClient

ATTEMPTS = 3
CONNECT_SECONDS = 3
READ_SECONDS = 10  # three attempts stay below the 60 seconds that a sensor has
_PAUSE_SECONDS = 20  # at most, as in botocore's "standard" mode


class Calls:
    """SQS's calls about one queue; `opened` connects.

    Args:
        session: botocore's, which knows credentials and certificates.
        client: boto3's SQS client of that session, which knows the endpoint.
        url: the queue's URL.
        setting: the name of the setting that holds the URL, for messages to people.
    """

    def __init__(self, session: Session, client: SQSClient, url: str, setting: str) -> None:
        self._session = session
        self._client = client
        self._endpoint = client.meta.endpoint_url
        self._url = url
        self._setting = setting
        self._user_agent = session.user_agent()
        self._http: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Let `call` be called while this lasts; nothing is sent yet."""
        import aiohttp

        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=AT_A_TIME, ssl=self._certificates()),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS
            ),
            proxy=self._proxy(),
        ) as self._http:
            yield

    async def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Call SQS about the queue, up to three times while it does not answer, or not now.

        Args:
            operation: AWS's name of it ("ReceiveMessage").
            request: its parameters, but for the queue's URL.

        Returns:
            The answer's members.

        Raises:
            AwsRefused, AwsUnavailable: as `aws_errors.explaining`.
        """
        from pydantic_core import to_json

        body = to_json({"QueueUrl": self._url, **request})
        try:
            return await self._once(operation, body)
        except PassingError:
            return await self._again(operation, body)

    async def _again(self, operation: str, body: bytes) -> dict[str, Any]:
        from tenacity import (
            AsyncRetrying,
            retry_if_exception_type,
            stop_after_attempt,
            wait_random_exponential,
        )

        attempts = AsyncRetrying(
            retry=retry_if_exception_type(PassingError),
            wait=wait_random_exponential(max=_PAUSE_SECONDS),
            stop=stop_after_attempt(ATTEMPTS - 1),
            reraise=True,
        )
        return await attempts(self._once, operation, body)

    async def _once(self, operation: str, body: bytes) -> dict[str, Any]:
        from pydantic_core import from_json

        with explaining(operation, self._setting, self._url):
            status, headers, said = await self._post(self._signed(operation, body), body)
            if status != 200:
                raise self._refusal(operation, status, headers, said)
        try:
            answer = from_json(said)
        except ValueError:
            raise not_aws(operation) from None
        if not isinstance(answer, dict):
            raise not_aws(operation)
        return answer

    def _signed(self, operation: str, body: bytes) -> dict[str, str]:
        """Make the headers; credentials that are about to expire are renewed here."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import NoCredentialsError

        credentials = self._session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"AmazonSQS.{operation}",
            "User-Agent": self._user_agent,
        }
        request = AWSRequest("POST", self._endpoint, headers, body)
        SigV4Auth(
            credentials.get_frozen_credentials(), "sqs", self._client.meta.region_name
        ).add_auth(request)
        return dict(request.headers)

    async def _post(
        self, headers: dict[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request; what fails becomes botocore's error for it."""
        import aiohttp
        from botocore import exceptions

        assert self._http is not None  # noqa: S101 - `opened` is around it
        try:
            async with self._http.post(
                self._endpoint, data=body, headers=headers, allow_redirects=False
            ) as answer:
                return answer.status, answer.headers, await answer.read()
        except aiohttp.ClientSSLError as error:
            raise exceptions.SSLError(endpoint_url=self._endpoint, error=error) from None
        except aiohttp.ServerTimeoutError as error:
            raise exceptions.ReadTimeoutError(endpoint_url=self._endpoint, error=error) from None
        except aiohttp.ClientConnectorError as error:
            raise exceptions.EndpointConnectionError(
                endpoint_url=self._endpoint, error=error
            ) from None
        except aiohttp.ClientError:
            raise exceptions.ConnectionClosedError(endpoint_url=self._endpoint) from None

    def _refusal(
        self, operation: str, status: int, headers: Mapping[str, str], said: bytes
    ) -> Exception:
        from botocore.exceptions import ClientError
        from botocore.parsers import create_parser

        answer = {"status_code": status, "headers": headers, "body": said}
        # Any shape: errors have one form.
        shape = self._client.meta.service_model.shape_for("ReceiveMessageResult")
        return ClientError(create_parser("json").parse(answer, shape), operation)

    def _certificates(self) -> ssl.SSLContext | bool:
        import ssl

        from botocore.httpsession import get_cert_path

        if not self._endpoint.startswith("https:"):
            return True
        return ssl.create_default_context(
            cafile=self._session.get_config_variable("ca_bundle") or get_cert_path(True)
        )

    def _proxy(self) -> str | None:
        from botocore.utils import get_environ_proxies

        scheme = self._endpoint.partition(":")[0]
        return get_environ_proxies(self._endpoint).get(scheme)
