"""A folder as the kit's provider: what was handed over is what lies in it."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Self

from genie_connect_spec.kit.behaviour import Behaviour
from genie_connect_spec.kit.provider import HandedOver

_ENVELOPE = (b"x-envelope-from", b"x-envelope-to", b"return-path", b"delivered-to")


class FolderProvider:
    """There is nothing to connect to; a place where nobody is, is a folder that there is not."""

    def __init__(self) -> None:
        self.host = "kit"
        self.port = 1
        self._base = Path()

    def __enter__(self) -> Self:
        self._base = Path(mkdtemp())
        self.forget()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        shutil.rmtree(self._base)

    @property
    def folder(self) -> Path:
        """Where messages are put."""
        return self._base / f"{self.host}:{self.port}"

    @property
    def handed_over(self) -> list[HandedOver]:
        """The files, the first written first."""
        found = [path for path in self.folder.rglob("*") if path.is_file()]
        return [_read(path) for path in sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))]

    @property
    def open_connections(self) -> int:
        """None."""
        return 0

    def can(self, behaviour: Behaviour) -> bool:
        """A folder does nothing wrong by itself."""
        return behaviour is Behaviour.NORMAL

    def behave(self, behaviour: Behaviour = Behaviour.NORMAL, *, everywhere: bool = False) -> None:
        """It goes on being a folder."""

    def forget(self) -> None:
        """It is empty again."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("tmp", "new", "cur"):
            (self.folder / name).mkdir(parents=True)

    async def received(self, count: int, timeout_s: float) -> None:
        """What was sent is there."""
        assert len(self.handed_over) >= count

    async def deserted(self, timeout_s: float) -> None:
        """It always is."""

    def knows(self, thread: int) -> bool:
        """It has no thread."""
        return False


def _read(path: Path) -> HandedOver:
    content, envelope = path.read_bytes(), list[tuple[bytes, str]]()
    while (name := content.partition(b":")[0].lower()) in _ENVELOPE:
        line, _, content = content.partition(b"\n")
        envelope.append((name, line.partition(b":")[2].strip(b" \r<>").decode()))
    (sender,) = [value for name, value in envelope if name in _ENVELOPE[::2]]
    recipients = tuple([value for name, value in envelope if name in _ENVELOPE[1::2]])
    return HandedOver(content=content, envelope_from=sender, recipients=recipients)
