"""The doctor's surroundings: a laptop with the stack, and none of this machine's own files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest

from dpp_feedback_tests.doctor.proxy import proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mypy_boto3_sns import SNSClient

    from dpp_feedback_tests.doctor.proxy import Proxy


@pytest.fixture(autouse=True)
def _laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in ("KUBERNETES_SERVICE_HOST", "DAGSTER_HOME", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def between(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Lets a test answer some calls in the stand-in's place."""
    with proxy(environment["AWS_ENDPOINT_URL"]) as own:
        monkeypatch.setenv("AWS_ENDPOINT_URL", own.url)
        yield own


@pytest.fixture
def sns(environment: dict[str, str]) -> SNSClient:
    """boto3's own, straight to the stand-in."""
    return boto3.client(
        "sns",
        region_name=environment["AWS_REGION"],
        endpoint_url=environment["AWS_ENDPOINT_URL"],
    )
