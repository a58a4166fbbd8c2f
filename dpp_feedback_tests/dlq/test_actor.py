"""Who acts: what STS says, or the login and the machine."""

from __future__ import annotations

import getpass
import socket
from typing import TYPE_CHECKING

import pytest

from dpp_feedback.dlq.actor import actor, without_address

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCAL = f"{getpass.getuser()}@{socket.gethostname()}"


def test_the_actor_is_the_arn_of_the_credentials(environment: dict[str, str]) -> None:
    assert actor(environment["AWS_REGION"]).startswith("arn:aws:")


def test_without_an_answer_it_is_the_login_and_the_machine(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert actor(environment["AWS_REGION"]) == LOCAL


def test_without_credentials_too(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    assert actor(environment["AWS_REGION"]) == LOCAL


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_silent_sts_holds_nobody_up(
    environment: dict[str, str], silent_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", silent_server)
    assert actor(environment["AWS_REGION"]) == LOCAL


def test_a_user_without_a_name_is_one_too(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 987_654)
    assert actor(environment["AWS_REGION"]) == f"unknown@{socket.gethostname()}"


@pytest.mark.parametrize(
    ("who", "said"),
    [
        (
            "arn:aws:sts::123456789012:assumed-role/operator/jane.doe@example.com",
            "arn:aws:sts::123456789012:assumed-role/operator/j***@example.com",
        ),
        ("arn:aws:iam::123456789012:user/jane", "arn:aws:iam::123456789012:user/jane"),
        ("Jane", "Jane"),
        ("jane.doe@laptop", "jane.doe@laptop"),
        ("jane.doe@laptop.example.com", "j***@laptop.example.com"),
    ],
)
def test_a_tag_names_the_role_and_no_address(who: str, said: str) -> None:
    assert without_address(who) == said
