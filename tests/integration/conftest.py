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
            reason = SERVERS[name].why_not()
            if reason:
                pytest.skip(reason)
            self._servers[name] = self._stack.enter_context(SERVERS[name](self._factory.mktemp(name)))
        return self._servers[name]


@pytest.fixture(scope="session")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Running]:
    with contextlib.ExitStack() as stack:
        yield _Running(tmp_path_factory, stack)


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.real_server) for name in SERVERS])
def real_server(request: pytest.FixtureRequest, _running: _Running) -> RealServer:
    """Each real server in turn, running, on 127.0.0.1 and a free port."""
    return _running.get(request.param)


@pytest.fixture
def postfix(_running: _Running) -> RealServer:
    """Postfix, running; mark the test ``real_server``."""
    return _running.get("postfix")


@pytest.fixture
def exim(_running: _Running) -> RealServer:
    """Exim, running; mark the test ``real_server``."""
    return _running.get("exim")


@pytest.fixture
def opensmtpd(_running: _Running) -> RealServer:
    """OpenSMTPD, running; mark the test ``real_server``."""
    return _running.get("opensmtpd")


@pytest.fixture
def haraka(_running: _Running) -> RealServer:
    """Haraka, running; mark the test ``real_server``."""
    return _running.get("haraka")
