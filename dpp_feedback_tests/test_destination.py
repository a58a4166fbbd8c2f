"""Where reports are written: a real folder, and a real HTTP server that takes S3's PUT.

The stand-in for AWS that the other tests use runs without S3, so this one is ours: it keeps what
it is given, or refuses as S3 does.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from dpp_feedback.aws_errors import AwsRefused, AwsUnavailable
from dpp_feedback.destination import Destination, DestinationRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGION = "ap-northeast-2"


@dataclass
class Storage:
    """What was put, by path: body and content type; and what to answer instead of yes."""

    objects: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    refusal: tuple[int, str] | None = None


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    storage = Storage()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self._body()
            if storage.refusal:
                status, code = storage.refusal
                answer = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            else:
                status, answer = 200, b""
                storage.objects[self.path] = body, self.headers["Content-Type"]
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def do_GET(self) -> None:
            found = storage.objects.get(self.path.partition("?")[0])
            body = found[0] if found else b"<Error><Code>NoSuchKey</Code></Error>"
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _body(self) -> bytes:
            if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
                return self.rfile.read(int(self.headers["Content-Length"]))
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():  # the checksum
                pass
            return body

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    yield storage
    server.shutdown()
    server.server_close()


def test_a_folder_is_made_and_the_file_s_path_returned(tmp_path: Path) -> None:
    folder = tmp_path / "some" / "where"
    written = Destination.of(str(folder), REGION).write("a.csv", b"1,2\n", "text/csv")
    assert written == str(folder / "a.csv")
    assert (folder / "a.csv").read_bytes() == b"1,2\n"


def test_a_relative_folder_gives_a_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Destination.of("reports", REGION).write("a", b"", "text/plain") == str(
        tmp_path / "reports" / "a"
    )


def test_writing_again_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    destination = Destination.of(str(tmp_path), REGION)
    destination.write("a.html", b"long and old", "text/html")
    destination.write("a.html", b"new", "text/html")
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    assert (tmp_path / "a.html").read_bytes() == b"new"


def test_a_file_that_cannot_be_written_whole_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.html").mkdir()  # a folder in the way of the last step
    with pytest.raises(DestinationRefused):
        Destination.of(str(tmp_path), REGION).write("a.html", b"new", "text/html")
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]


def test_what_was_written_is_read_and_what_is_not_there_is_none(
    tmp_path: Path,
    s3: Storage,  # noqa: ARG001 - the server
) -> None:
    for where in (str(tmp_path), "s3://bucket-of-reports/ses"):
        destination = Destination.of(where, REGION)
        assert destination.read("a.csv") is None
        destination.write("a.csv", b"1,2\n", "text/csv")
        assert destination.read("a.csv") == b"1,2\n"


def test_a_file_that_cannot_be_read_is_a_sentence_that_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(DestinationRefused, match="SES_FEEDBACK_REPORTS names a folder that cannot"):
        Destination.of(str(tmp_path), REGION).read("a.csv")


def test_a_folder_that_cannot_be_made_is_a_sentence_that_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DestinationRefused, match="SES_FEEDBACK_REPORTS names a folder that cannot"):
        Destination.of(str(tmp_path / "file" / "reports"), REGION).write("a", b"", "text/plain")


@pytest.mark.parametrize("where", ["s3://", "s3:///prefix", "https://example.com/x", "file:///tmp"])
def test_what_is_no_place_is_refused_before_anything_is_written(where: str) -> None:
    with pytest.raises(DestinationRefused, match="SES_FEEDBACK_REPORTS is no place"):
        Destination.of(where, REGION)


@pytest.mark.parametrize(
    ("where", "path"),
    [
        ("s3://bucket-of-reports", "/bucket-of-reports/a.html"),
        ("s3://bucket-of-reports/", "/bucket-of-reports/a.html"),
        ("s3://bucket-of-reports/ses/daily/", "/bucket-of-reports/ses/daily/a.html"),
    ],
)
def test_an_object_is_put_below_the_prefix_with_its_type(
    s3: Storage, where: str, path: str
) -> None:
    written = Destination.of(where, REGION).write("a.html", b"<p>", "text/html; charset=utf-8")
    assert s3.objects == {path: (b"<p>", "text/html; charset=utf-8")}
    assert written == f"s3:/{path}"


@pytest.mark.parametrize(
    ("refusal", "error", "said"),
    [
        ((404, "NoSuchBucket"), AwsRefused, "NoSuchBucket. Check SES_FEEDBACK_REPORTS"),
        ((403, "AccessDenied"), AwsRefused, "may not call s3:PutObject on s3://bucket/a"),
        ((403, "ExpiredToken"), AwsRefused, "the credentials have expired"),
        ((503, "SlowDown"), AwsUnavailable, "S3 cannot do PutObject now"),
    ],
)
def test_a_refusal_of_s3_is_a_sentence(
    s3: Storage, refusal: tuple[int, str], error: type[Exception], said: str
) -> None:
    s3.refusal = refusal
    with pytest.raises(error, match=said):
        Destination.of("s3://bucket", REGION).write("a", b"x", "text/plain")
    assert not s3.objects
