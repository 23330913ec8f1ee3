"""Fixtures for pytest; a test package takes them with `from genie_connect_spec.fixtures import scripted_smtp`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol, Unpack

import pytest
import pytest_asyncio

from genie_connect_spec.smtp_certificates import CertificateSet
from genie_connect_spec.smtp_script import Script
from genie_connect_spec.smtp_server import ScriptedSmtpOptions, ScriptedSmtpServer


class StartScriptedSmtp(Protocol):
    """Starts a scripted server that stops when the test ends."""

    async def __call__(self, script: Script = (), **options: Unpack[ScriptedSmtpOptions]) -> ScriptedSmtpServer:
        """Start a server; the options are those of `ScriptedSmtpServer`."""
        ...


@pytest.fixture(scope="session")
def smtp_certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateSet:
    """Certificates shared by all tests of a run."""
    return CertificateSet(Path(tmp_path_factory.mktemp("smtp_certificates")))


@pytest_asyncio.fixture
async def scripted_smtp(smtp_certificates: CertificateSet) -> AsyncIterator[StartScriptedSmtp]:
    """Start scripted servers that stop when the test ends.

    A test writes `server = await scripted_smtp([on("mail", Reset())], security="tls")`.
    """
    async with contextlib.AsyncExitStack() as stack:

        async def start(script: Script = (), **options: Unpack[ScriptedSmtpOptions]) -> ScriptedSmtpServer:
            options.setdefault("certificates", smtp_certificates)
            return await stack.enter_async_context(ScriptedSmtpServer(script, **options))

        yield start
