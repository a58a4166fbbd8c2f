"""A server of each version of PostgreSQL; tests of a version that is not installed are skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dpp_feedback_tests.database.servers import PROGRAMS, Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Server]]:
    """By version; none runs before it is asked for a database."""
    servers = {version: Server(version, tmp_path_factory.mktemp("pg")) for version in PROGRAMS}
    yield servers
    for server in servers.values():
        server.stop()


@pytest.fixture(scope="session", params=sorted(PROGRAMS))
def server(servers: dict[int, Server], request: pytest.FixtureRequest) -> Server:
    """Each version in turn: the test runs once on each."""
    return servers[request.param]
