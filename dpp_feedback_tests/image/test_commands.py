"""The built image, by `make test-image`: what is in it, and that each of its commands works."""

from __future__ import annotations

import json
import tomllib
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

import psycopg
import pytest
import yaml

from dpp_feedback.local import ports
from dpp_feedback.local.ledger import Sent
from dpp_feedback.local.simulate import publish
from dpp_feedback.local.traffic import traffic
from dpp_feedback_tests.image.container import Image
from dpp_feedback_tests.k8s.test_no_keys import keys_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dpp_feedback.local.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
MEGABYTES = 600


@pytest.fixture(scope="module")
def image(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Image]:
    name = request.config.getoption("--image")
    if not name:
        pytest.skip("no image: `make test-image` builds one, with docker, podman or buildah")
    home = tmp_path_factory.mktemp("instance")
    for folder in [home, *home.parents]:
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)  # the container's user is another
    image = Image(request.config.getoption("--builder"), name, home)
    yield image
    image.remove()


def output(image: Image, *command: str, **env: str) -> str:
    ended = image.run(*command, **env)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def wait_until(answered: Callable[[], bool], log: Path, seconds: int = 120) -> None:
    """Ask again until it answers; a command that never does fails with what it printed."""
    end = monotonic() + seconds
    while not answered():
        assert monotonic() < end, log.read_text()[-3000:]
        sleep(0.5)


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:  # noqa: S310 - of this machine
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def test_the_image_says_what_it_is(image: Image) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.version"] == version
    assert len(labels["org.opencontainers.image.revision"]) == 40
    assert image.config["User"] == "10001:10001"
    assert "Entrypoint" not in image.config or not image.config["Entrypoint"]


def test_the_image_is_small(image: Image) -> None:
    assert image.megabytes < MEGABYTES


def test_nobody_can_compile_or_install_in_it(image: Image) -> None:
    """And no tests, cache, repository or environment file came along."""
    search = (
        "for name in cc gcc g++ clang make strip git; do command -v $name; done;"
        "ls -d /build /root/.cache/* /opt/venv/bin/pip* /var/lib/apt/lists/*_Packages;"
        "find /opt -name '.env*' -o -name .git -o -name tests -o -name dpp_feedback_tests;"
        "echo searched"
    )
    assert output(image, "sh", "-c", search) == "searched\n"


def test_no_key_is_in_it(image: Image) -> None:
    """In what is ours; the documentation that boto3 carries has AWS's examples of keys."""
    ours = "/etc /home /opt/dagster /root /opt/venv/lib/python3*/site-packages/dpp_feedback"
    search = f"find {ours} -type f -readable -not -name '*.pyc' -exec cat {{}} + 2>/dev/null; true"
    text = output(image, "sh", "-c", search)
    assert "CREATE TABLE" in text
    assert keys_in(text) == []
    assert keys_in(json.dumps(image.config)) == []


def test_a_container_does_not_run_as_root_and_can_write_only_to_tmp(image: Image) -> None:
    assert output(image, "id", "-u").strip() == "10001"
    assert output(image, "sh", "-c", "cd && pwd && touch /tmp/file").strip() == "/tmp"
    for folder in ["/", "/opt/dagster", "/opt/dagster/home", "/opt/venv/lib"]:
        assert image.run("touch", f"{folder}/file").returncode != 0


def test_everything_that_a_start_imports_has_its_bytecode(image: Image) -> None:
    """Python's own library as well: nothing is compiled again at each start."""
    program = (
        "import dpp_feedback.definitions, dpp_feedback.cli, dagster_k8s, dagster_postgres,"
        " dagster_aws.s3, dagster_webserver.cli, dagster._daemon.cli, pandas, matplotlib.figure\n"
        "import pathlib, sys\n"
        "found = [m.__spec__ for m in list(sys.modules.values()) if getattr(m, '__spec__', None)]\n"
        "found = [s for s in found if s.cached and s.origin.endswith('.py')]\n"
        "print(len(found), [s.name for s in found if not pathlib.Path(s.cached).exists()])\n"
    )
    count, without = output(image, "python", "-c", program).strip().split(" ", 1)
    assert int(count) > 2000
    assert without == "[]"


def test_charts_and_every_client_of_aws_are_still_there(image: Image) -> None:
    """Nothing that is needed was cut off to make the image small."""
    program = (
        "import io, boto3\n"
        "from matplotlib.figure import Figure\n"
        "figure = Figure(); figure.subplots().plot([1, 2]); picture = io.BytesIO()\n"
        "figure.savefig(picture, format='png'); print(picture.getvalue()[1:4].decode())\n"
        "for name in ['cloudwatch', 's3', 'ses', 'sesv2', 'sns', 'sqs', 'sts']:\n"
        "    boto3.client(name, region_name='ap-northeast-2')\n"
    )
    ended = image.run("python", "-W", "error", "-c", program)
    assert (ended.stdout, ended.stderr) == ("PNG\n", "")


def test_dpp_feedback_migrates_a_database(image: Image, database_url: str) -> None:
    assert "Usage: dpp-feedback" in output(image, "dpp-feedback", "--help")
    output(image, "dpp-feedback", "migrate", DATABASE_URL=database_url)
    with closing(psycopg.connect(database_url)) as connection:
        names = connection.execute("SELECT name FROM dpp_feedback.migrations ORDER BY name")
        assert [name for (name,) in names] == sorted(
            path.name for path in (ROOT / "migrations").glob("*.sql")
        )


@pytest.fixture
def instance(image: Image, stack: Stack, database_url: str) -> Iterator[dict[str, str]]:
    """k8s/'s instance without its run launcher: the code server runs the jobs itself."""
    name = f"dagster_{database_url.rsplit('/', 1)[1]}"
    with closing(psycopg.connect(stack.postgres.url("postgres"), autocommit=True)) as server:
        server.execute(f"CREATE DATABASE {name}")
        dagster = yaml.safe_load((ROOT / "k8s/base/instance/dagster.yaml").read_text())
        del dagster["run_launcher"]
        dagster["storage"]["postgres"]["postgres_db"]["port"] = stack.postgres.port
        (image.home / "dagster.yaml").write_text(yaml.safe_dump(dagster))
        yield {
            "DAGSTER_POSTGRES_HOST": ports.LOOPBACK,
            "DAGSTER_POSTGRES_USER": "postgres",
            "DAGSTER_POSTGRES_PASSWORD": "none",
            "DAGSTER_POSTGRES_DB": name,
        }
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_code_server_daemon_and_webserver_drain_a_queue(
    image: Image, instance: dict[str, str], environment: dict[str, str], tmp_path: Path
) -> None:
    """Three containers, as in the cluster. No time is asserted; a command that hangs fails."""
    env = environment | instance
    grpc, http = ports.free_port(), ports.free_port()
    workspace = yaml.safe_load((ROOT / "k8s/base/instance/workspace.yaml").read_text())
    workspace["load_from"][0]["grpc_server"] |= {"host": ports.LOOPBACK, "port": grpc}
    (image.home / "workspace.yaml").write_text(yaml.safe_dump(workspace))
    there = "/opt/dagster/home/workspace.yaml"
    output(image, "dpp-feedback", "migrate", **env)
    sent = publish(
        traffic(200, seed=1, at=datetime(2026, 2, 17, 12, tzinfo=UTC), duplicates=0.05, poison=0),
        environment,
    )
    with ExitStack() as containers:
        logs = {name: tmp_path / name for name in ["server", "daemon", "webserver"]}
        server = [*image.config["Cmd"][:-4], "-h", ports.LOOPBACK, "-p", str(grpc)]
        containers.enter_context(image.running(*server, log=logs["server"], **env))
        health = ["dagster", "api", "grpc-health-check", "-p", str(grpc)]
        wait_until(lambda: image.run(*health, **env).returncode == 0, logs["server"])

        daemon = ["dagster-daemon", "run", "-w", there]
        containers.enter_context(image.running(*daemon, log=logs["daemon"], **env))
        pages = ["dagster-webserver", "-h", ports.LOOPBACK, "-p", str(http), "-w", there]
        containers.enter_context(image.running(*pages, log=logs["webserver"], **env))

        wait_until(
            lambda: answers(f"http://{ports.LOOPBACK}:{http}/server_info"), logs["webserver"]
        )
        with urlopen(f"http://{ports.LOOPBACK}:{http}/server_info", timeout=5) as info:
            assert "dagster_version" in json.load(info)

        kept = containers.enter_context(
            closing(psycopg.connect(environment["DATABASE_URL"], autocommit=True))
        )
        unique = len(
            {key for one in sent.messages if isinstance(one, Sent) for key in one.dedupe_keys}
        )
        wait_until(lambda: _events(kept) >= unique, logs["daemon"])
        assert _events(kept) == unique
        alive = ["dagster-daemon", "liveness-check"]
        wait_until(lambda: image.run(*alive, **env).returncode == 0, logs["daemon"])


def _events(connection: psycopg.Connection[tuple[int]]) -> int:
    row = connection.execute("SELECT count(*) FROM ses_feedback_events").fetchone()
    assert row is not None
    return row[0]
