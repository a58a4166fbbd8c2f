"""Each setting, missing and malformed: one sentence that names it and the next step."""

from __future__ import annotations

import pytest

from dpp_feedback.connection import DatabaseRefused, DatabaseUnavailable
from dpp_feedback.errors import FeedbackError
from dpp_feedback.resources import (
    FeedbackQueue,
    FeedbackStore,
    SettingError,
    aws_region,
    database_url,
    max_parallel_runs,
    reject_key,
)

QUEUE = "https://sqs.ap-northeast-2.amazonaws.com/123456789012/decisionproof-ses-feedback-queue"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "DATABASE_URL is not set."),
        ("mysql://user@host/db", "DATABASE_URL cannot be read: write"),
        (
            "postgresql+psycopg2://user@host/db",
            "DATABASE_URL cannot be read: write",
        ),
        ("postgresql://user:secret%@host/db", "DATABASE_URL cannot be read: write"),
        ("postgresql://user:p@secret@host/db", "DATABASE_URL cannot be read: write"),
        ("postgresql://user:secret/1@host/db", "DATABASE_URL cannot be read: write"),
        ("postgresql://user:secret@host/db?no_such_option=1", "DATABASE_URL cannot be read: write"),
    ],
)
def test_a_bad_database_url_is_named_and_its_password_is_not(
    monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(FeedbackError) as caught:
        FeedbackStore().connect()
    assert str(caught.value).startswith(said)
    assert "secret" not in str(caught.value)


def test_both_schemes_of_postgres_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("postgres://user:secret@host/db", "postgresql://user:p%40ss@host:6543/db"):
        monkeypatch.setenv("DATABASE_URL", url)
        assert database_url() == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "SQS_QUEUE_URL is not set."),
        ("decisionproof-ses-feedback-queue", "SQS_QUEUE_URL is no URL of a queue."),
        ("arn:aws:sqs:ap-northeast-2:123456789012:queue", "SQS_QUEUE_URL is no URL of a queue."),
        ("https://sqs.ap-northeast-2.amazonaws.com/queue", "SQS_QUEUE_URL is no URL of a queue."),
        ("https://[bad/1/queue", "SQS_QUEUE_URL is no URL of a queue."),
        ("https://me:secret@host/1/queue", "SQS_QUEUE_URL is no URL of a queue."),
        ("postgresql://me:secret@host/db", "SQS_QUEUE_URL is no URL of a queue."),
        (f"{QUEUE}.fifo", "SQS_QUEUE_URL names a FIFO queue"),
        (
            QUEUE.replace("ap-northeast-2", "eu-west-1"),
            "SQS_QUEUE_URL is in eu-west-1, AWS_REGION says ap-northeast-2.",
        ),
    ],
)
def test_a_bad_queue_url_is_named(monkeypatch: pytest.MonkeyPatch, url: str, said: str) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("SQS_QUEUE_URL", url)
    with pytest.raises(SettingError) as caught:
        FeedbackQueue().connect()
    assert str(caught.value).startswith(said)
    assert "secret" not in str(caught.value)


def test_the_region_is_seoul_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    assert aws_region() == "ap-northeast-2"
    monkeypatch.setenv("AWS_REGION", "us-gov-west-1")
    assert aws_region() == "us-gov-west-1"
    monkeypatch.setenv("AWS_REGION", "eusc-de-east-1 ")
    assert aws_region() == "eusc-de-east-1"
    monkeypatch.setenv("AWS_REGION", "us-east")
    with pytest.raises(SettingError, match="AWS_REGION is 'us-east'"):
        aws_region()


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "٢", "1" * 5000])
def test_the_number_of_parallel_runs_is_a_whole_number(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.delenv("SES_FEEDBACK_MAX_PARALLEL_RUNS", raising=False)
    assert max_parallel_runs() == 1
    monkeypatch.setenv("SES_FEEDBACK_MAX_PARALLEL_RUNS", value)
    with pytest.raises(SettingError, match="SES_FEEDBACK_MAX_PARALLEL_RUNS is"):
        max_parallel_runs()


def test_a_server_that_does_not_answer_is_told_from_a_refused_database(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@127.0.0.1:1/db")
    with pytest.raises(DatabaseUnavailable, match=r"Connection refused\. Check the address"):
        FeedbackStore().connect()
    monkeypatch.setenv("DATABASE_URL", f"{database_url}_missing")
    with pytest.raises(DatabaseRefused, match=r'database "\w+" does not exist\. Check its'):
        FeedbackStore().connect()
    monkeypatch.setenv("DATABASE_URL", database_url.replace("postgres@", "nobody:secret@"))
    with pytest.raises(DatabaseRefused, match=r'role "nobody" does not exist') as caught:
        FeedbackStore().connect()
    assert "secret" not in str(caught.value)


def test_the_key_of_kept_bodies_is_long_enough_and_never_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SES_FEEDBACK_REJECT_KEY", raising=False)
    assert reject_key() is None
    monkeypatch.setenv("SES_FEEDBACK_REJECT_KEY", " ")
    assert reject_key() is None
    monkeypatch.setenv("SES_FEEDBACK_REJECT_KEY", "sixteen letters.")
    assert reject_key() == "sixteen letters."
    monkeypatch.setenv("SES_FEEDBACK_REJECT_KEY", "fifteen letters")
    with pytest.raises(SettingError, match="SES_FEEDBACK_REJECT_KEY is shorter than 16") as caught:
        reject_key()
    assert "fifteen" not in str(caught.value)


@pytest.mark.usefixtures("database")
def test_the_store_is_connected_with_the_key(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("SES_FEEDBACK_REJECT_KEY", "a passphrase of some length")
    # Postgres of the tests has no pgcrypto, and only a key needs it.
    with (
        FeedbackStore().connect() as store,
        pytest.raises(DatabaseRefused, match="SES_FEEDBACK_REJECT_KEY is set, and the database"),
    ):
        store.check()
    monkeypatch.delenv("SES_FEEDBACK_REJECT_KEY")
    with FeedbackStore().connect() as store:
        store.check()
