"""The verifiers that vendors publish for Node.js, in one process that is asked line by line."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.integration.servers.base import servers_folder

_PROGRAM = Path(__file__).with_name("verifiers.cjs")


class Verifiers:
    """MailerSend's and Amazon's, for as long as the ``with`` block runs."""

    def __init__(self) -> None:
        self._folder = servers_folder() / "verifiers"
        self._process: subprocess.Popen[str] | None = None

    @classmethod
    def why_not(cls) -> str | None:
        """Why they cannot be asked here, or None if they can."""
        if (servers_folder() / "verifiers" / ".installed").exists():
            return None
        return "verifiers is not installed: run tests/integration/install-servers verifiers"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [str(self._folder / "node"), str(_PROGRAM), str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # It ends with its input.
        assert self._process is not None
        with self._process:
            pass

    def mailersend(self, body: bytes, signature: str, secret: str) -> bool:
        """Whether MailerSend's SDK believes the signature of a body."""
        return self._asked(verifier="mailersend", body=_base64(body), signature=signature, secret=secret)

    def sns(self, body: bytes, certificate: bytes) -> bool:
        """Whether Amazon's validator believes a message of SNS, whose certificate is this one wherever it lies."""
        return self._asked(verifier="sns", body=_base64(body), certificate=certificate.decode())

    def _asked(self, **question: str) -> bool:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer in ("true\n", "false\n"), "it ended"
        return answer == "true\n"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
