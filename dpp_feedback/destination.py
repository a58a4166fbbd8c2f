"""Where reports and lists are written: a folder, or a prefix in an S3 bucket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from dpp_feedback.aws_errors import explaining
from dpp_feedback.errors import FeedbackError

SETTING = "SES_FEEDBACK_REPORTS"


class DestinationRefused(FeedbackError):
    """The setting names no place, or one that cannot be written."""


class Destination(ABC):
    """A place for files; `Destination.of` reads the setting."""

    @staticmethod
    def of(where: str, region: str) -> Destination:
        """Make the place that the setting names; nothing is written yet.

        Args:
            where: a folder, or `s3://bucket/prefix`.
            region: of the bucket.

        Raises:
            DestinationRefused: it is neither.
            AwsRefused: one of boto3's own settings is wrong.
        """
        scheme, separator, _ = where.partition("://")
        if not separator:
            return Folder(Path(where).expanduser())
        bucket, prefix = urlsplit(where).netloc, urlsplit(where).path.strip("/")
        if scheme.lower() != "s3" or not bucket:
            raise DestinationRefused(
                f"{SETTING} is no place that reports can be written to: write a folder, or "
                "s3://bucket/prefix."
            )
        return Bucket.connect(bucket, prefix, region)

    @abstractmethod
    def write(self, name: str, data: bytes, content_type: str) -> str:
        """Write one file whole, over an older one of the same name.

        Args:
            name: of the file, without folders.
            data: what it holds.
            content_type: its media type ("text/html; charset=utf-8"); S3 keeps it.

        Returns:
            The file's path, or its `s3://` URL.

        Raises:
            DestinationRefused: the folder cannot be made or written.
            AwsRefused, AwsUnavailable: S3 refuses, or does not answer.
        """

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Read one file whole; None if it is not there.

        Args:
            name: of the file, without folders.

        Raises:
            DestinationRefused: the folder cannot be read.
            AwsRefused, AwsUnavailable: S3 refuses, or does not answer.
        """


class Folder(Destination):
    """A folder of this machine; made when the first file is written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, name: str, data: bytes, content_type: str) -> str:  # noqa: ARG002 - S3 keeps it
        """Write a file beside, then rename it: nobody reads half of one."""
        target = self._path.absolute() / name
        beside = target.with_name(f".{name}.{uuid4().hex}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                beside.write_bytes(data)
                beside.replace(target)
            finally:
                beside.unlink(missing_ok=True)
        except OSError as error:
            raise DestinationRefused(
                f"{SETTING} names a folder that cannot be written: {target.parent} "
                f"({error.strerror}). Write another, or give this process the right to it."
            ) from None
        return str(target)

    def read(self, name: str) -> bytes | None:
        """Read a file."""
        target = self._path.absolute() / name
        try:
            return target.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DestinationRefused(
                f"{SETTING} names a folder that cannot be read: {target.parent} "
                f"({error.strerror}). Give this process the right to it."
            ) from None


class Bucket(Destination):
    """A prefix of an S3 bucket; `client` is boto3's."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    @classmethod
    def connect(cls, bucket: str, prefix: str, region: str) -> Bucket:
        """Make a client; nothing is sent yet.

        Raises:
            AwsRefused: one of boto3's own settings is wrong.
        """
        import boto3
        from botocore.config import Config

        config = Config(
            connect_timeout=3,
            read_timeout=30,
            retries={"mode": "standard", "total_max_attempts": 3},
        )
        with explaining("PutObject", SETTING, f"s3://{bucket}", service="S3"):
            client = boto3.Session().client("s3", region_name=region, config=config)
        return cls(client, bucket, prefix)

    def write(self, name: str, data: bytes, content_type: str) -> str:
        """Put one object; S3 replaces an object whole."""
        key = f"{self._prefix}/{name}" if self._prefix else name
        url = f"s3://{self._bucket}/{key}"
        with explaining("PutObject", SETTING, url, service="S3"):
            self._client.put_object(
                Bucket=self._bucket, Key=key, Body=data, ContentType=content_type
            )
        return url

    def read(self, name: str) -> bytes | None:
        """Get one object, in its present version."""
        key = f"{self._prefix}/{name}" if self._prefix else name
        with explaining("GetObject", SETTING, f"s3://{self._bucket}/{key}", service="S3"):
            try:
                body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            except self._client.exceptions.NoSuchKey:
                return None
        return body
