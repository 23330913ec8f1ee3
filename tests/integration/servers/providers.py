"""Other people's stand-ins for providers, each one Node.js process that speaks HTTP."""

import contextlib
import http.client
from pathlib import Path
from typing import ClassVar

from tests.integration.servers.base import LocalProgram


class StandIn(LocalProgram):
    """Something that answers HTTP as a provider would."""

    program: ClassVar[str]
    """Its script, in the folder of packages."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.host}:{self.port}"

    def greets(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(self.host, self.port, timeout=5)
            with contextlib.closing(connection):
                connection.request("GET", "/")
                return connection.getresponse().status > 0
        return False

    def configure(self) -> list[str]:
        script = self.installed / "node_modules" / self.program
        return [str(self.installed / "node"), str(script), *self.arguments()]

    def arguments(self) -> list[str]:
        """What its command line says after the script."""
        return ["--host", self.host, "--port", str(self.port)]


class LocalSes(StandIn):
    """aws-ses-v2-local, which keeps what version 2 of Amazon SES is sent."""

    name: ClassVar[str] = "aws-ses-v2-local"
    program: ClassVar[str] = "aws-ses-v2-local/dist/cli.js"


class Prism(StandIn):
    """Prism, which checks each request by an OpenAPI description and answers as it says."""

    name: ClassVar[str] = "prism"
    program: ClassVar[str] = "@stoplight/prism-cli/dist/index.js"

    def __init__(self, folder: Path, description: Path) -> None:
        super().__init__(folder)
        self.description = description

    def arguments(self) -> list[str]:
        return ["mock", "--errors", *super().arguments(), str(self.description)]
