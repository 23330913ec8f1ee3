"""Fixtures that start the real mail servers, once for each worker, and stop them at the end."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.integration.servers import SERVERS, RealServer


class _Running:
    """Servers that are started when first asked for."""

    def __init__(self, factory: pytest.TempPathFactory, stack: contextlib.ExitStack) -> None:
        self._factory = factory
        self._stack = stack
        self._servers: dict[str, RealServer] = {}

    def get(self, name: str) -> RealServer:
        if name not in self._servers:
            self._servers[name] = self._stack.enter_context(SERVERS[name](self._factory.mktemp(name)))
        return self._servers[name]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a server ``real_server``, and skip them where it cannot run.

    Marks, and not a skip in the fixture, so that the summary has one line for each server.
    """
    reasons = {name: server.why_not() for name, server in SERVERS.items()}
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        arguments = item.callspec.params if hasattr(item, "callspec") else {}
        asked_for = {arguments.get("real_server"), arguments.get("server_class"), *item.fixturenames}
        for name in sorted(reasons.keys() & asked_for):
            item.add_marker(pytest.mark.real_server)
            if reason := reasons[name]:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Running]:
    with contextlib.ExitStack() as stack:
        yield _Running(tmp_path_factory, stack)


@pytest.fixture(params=SERVERS)
def real_server(request: pytest.FixtureRequest, _running: _Running) -> RealServer:
    """Each real server in turn, running, on 127.0.0.1 and a free port."""
    return _running.get(request.param)


@pytest.fixture(params=SERVERS)
def server_class(request: pytest.FixtureRequest) -> type[RealServer]:
    """Each kind of real server in turn, for tests that start one themselves with a folder of their own."""
    return SERVERS[request.param]


@pytest.fixture
def postfix(_running: _Running) -> RealServer:
    """Postfix, running."""
    return _running.get("postfix")


@pytest.fixture
def exim(_running: _Running) -> RealServer:
    """Exim, running."""
    return _running.get("exim")


@pytest.fixture
def opensmtpd(_running: _Running) -> RealServer:
    """OpenSMTPD, running."""
    return _running.get("opensmtpd")


@pytest.fixture
def haraka(_running: _Running) -> RealServer:
    """Haraka, running."""
    return _running.get("haraka")
