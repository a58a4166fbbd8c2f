"""Many calls of SQS at the same time, in one event loop.

boto3 takes half a millisecond of a processor for a call, and more on several threads: most of a
drain, which is made of a thousand calls of two kinds (docs/performance.md). Here botocore still
finds credentials, endpoint, proxy and certificates, signs, and reads errors; only the way between
is shorter. The protocol is the one that boto3 speaks: "AWS JSON protocol" in SQS's developer guide.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from random import uniform
from time import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dpp_feedback.aws_errors import explaining, not_aws
from dpp_feedback.errors import PassingError
from dpp_feedback.messages import AT_A_TIME

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping

    import aiohttp
    from botocore.credentials import ReadOnlyCredentials
    from botocore.session import Session
    from mypy_boto3_sqs import SQSClient

ATTEMPTS = 3
CONNECT_SECONDS = 3
READ_SECONDS = 10  # three attempts stay below the 60 seconds that a sensor has


class Calls:
    """SQS's calls about one queue; `opened` connects. For one event loop at a time.

    Args:
        session: botocore's, which knows credentials and certificates.
        client: boto3's SQS client of that session, which knows the endpoint.
        url: the queue's URL.
        setting: the name of the setting that holds the URL, for messages to people.
    """

    def __init__(self, session: Session, client: SQSClient, url: str, setting: str) -> None:
        self._session = session
        self._client = client
        endpoint = client.meta.endpoint_url
        self._endpoint = endpoint if urlsplit(endpoint).path else f"{endpoint}/"
        self._url = url
        self._setting = setting
        self._user_agent = session.user_agent()
        self._http: aiohttp.ClientSession | None = None
        self._last_signed: tuple[object, dict[str, str]] | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Let `call` be called while this lasts; nothing is sent yet.

        Raises:
            AwsRefused: the certificates cannot be read.
        """
        import aiohttp

        with explaining("ReceiveMessage", self._setting, self._url):
            certificates = self._certificates()
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=AT_A_TIME, ssl=certificates),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                # Names, TLS and proxies are part of it.
                total=None,
                connect=CONNECT_SECONDS,
                sock_read=READ_SECONDS,
            ),
            proxy=self._proxy(),
        ) as http:
            self._http = http
            try:
                yield
            finally:
                self._http = None

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
        for attempt in range(1, ATTEMPTS):
            try:
                return await self._once(operation, body)
            except PassingError:
                # As botocore's "standard" mode.
                await asyncio.sleep(uniform(0, 2 ** (attempt - 1)))  # noqa: S311 - a pause
        return await self._once(operation, body)

    async def _once(self, operation: str, body: bytes) -> dict[str, Any]:
        from pydantic_core import from_json

        with explaining(operation, self._setting, self._url):
            status, headers, said = await self._post(await self._signed(operation, body), body)
            if status != 200:
                raise self._refusal(operation, status, headers, said)
        try:
            answer = from_json(said)
        except ValueError:
            answer = _read_leniently(said)
        if not isinstance(answer, dict):
            raise not_aws(operation)
        return answer

    async def _signed(self, operation: str, body: bytes) -> dict[str, str]:
        """Make the headers; credentials that are about to expire are renewed here."""
        from botocore.credentials import RefreshableCredentials
        from botocore.exceptions import NoCredentialsError

        credentials = self._session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        if isinstance(credentials, RefreshableCredentials) and credentials.refresh_needed():
            # STS may take its time; the other calls go on meanwhile.
            frozen = await asyncio.to_thread(credentials.get_frozen_credentials)
        else:
            frozen = credentials.get_frozen_credentials()
        # A signature is a third of a call's cost, and that of equal requests is good for minutes
        # ("Elements of an AWS API request signature"): all receives of a second share one.
        what = (operation, body, frozen, int(time()))
        if self._last_signed is None or self._last_signed[0] != what:
            self._last_signed = what, self._sign(operation, body, frozen)
        return self._last_signed[1]

    def _sign(
        self, operation: str, body: bytes, credentials: ReadOnlyCredentials
    ) -> dict[str, str]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"AmazonSQS.{operation}",
            "X-Amzn-Query-Mode": "true",  # errors have the codes that boto3 knows
            "User-Agent": self._user_agent,
        }
        request = AWSRequest("POST", self._endpoint, headers, body)
        SigV4Auth(credentials, "sqs", self._client.meta.region_name).add_auth(request)
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
        except aiohttp.ConnectionTimeoutError as error:
            raise exceptions.ConnectTimeoutError(endpoint_url=self._endpoint, error=error) from None
        except aiohttp.ServerTimeoutError as error:
            raise exceptions.ReadTimeoutError(endpoint_url=self._endpoint, error=error) from None
        except (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError) as error:
            # Without its message, which may hold the proxy's password.
            raise exceptions.ProxyConnectionError(
                proxy_url="", error=type(error).__name__
            ) from None
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
        """Trust whom boto3 trusts: its own setting counts, then that of requests."""
        import ssl

        if not self._endpoint.startswith("https:"):
            return True
        from botocore.httpsession import get_cert_path
        from requests import Session

        bundle = (
            self._session.get_config_variable("ca_bundle")
            or Session().merge_environment_settings(self._endpoint, {}, None, True, None)["verify"]
        )
        context = ssl.create_default_context(
            cafile=bundle if isinstance(bundle, str) else get_cert_path(True)
        )
        # Nor is boto3 strict, as Python is from 3.13 on: companies' own CAs are not always.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context

    def _proxy(self) -> str | None:
        from botocore.httpsession import ProxyConfiguration
        from botocore.utils import get_environ_proxies

        found = ProxyConfiguration(get_environ_proxies(self._endpoint))
        proxy: str | None = found.proxy_url_for(self._endpoint)
        return proxy


def _read_leniently(said: bytes) -> object:
    """Read an answer as boto3 does: half of a surrogate pair in one body hides no other."""
    try:
        return json.loads(said)
    except ValueError:
        return None
