"""Where rows go that cannot be sent to: a file of JSON Lines, made with its first row, and never over another one."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from genie_connect.broadcast.row import Row
from genie_connect.errors import Problem, UnusableList

_HINT = "name another file with rejects, or be strict"


class Rejects:
    """A reject file, to be entered with ``with``.

    A path that somebody chose is refused where there is a file already. Beside a list, the next free number is taken:
    what an earlier run wrote may not have been looked at yet.
    """

    def __init__(self, chosen: Path | None, *, beside: Path | None = None) -> None:
        """Neither of them means that rows cannot go anywhere. Raises ``UnusableList``."""
        self.path: Path | None = None
        """Where they are; ``None`` as long as there are none."""
        self.possible = chosen is not None or beside is not None
        self._chosen = chosen
        self._beside = beside
        self._file: IO[str] | None = None
        if chosen is not None and chosen.exists():
            raise UnusableList(f"the reject file {chosen} is there already", hint="move it, or name another one")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as fault:
                # Where something else has gone wrong already, that is what has to be told.
                if error is None:
                    raise self._unwritable(fault) from None

    def add(self, row: Row, problems: tuple[Problem, ...]) -> None:
        """One more row. Raises ``UnusableList`` where it cannot be written."""
        what = {"row": row.number, "problems": [str(problem) for problem in problems], "given": row.given}
        try:
            if self._file is None:
                self._file = self._new()
            self._file.write(json.dumps(what, ensure_ascii=False, default=str) + "\n")
        except OSError as fault:
            raise self._unwritable(fault) from None

    def _new(self) -> IO[str]:
        if self._chosen is not None:
            self.path = self._chosen
            return _made(self._chosen)
        for number in count(1):
            # Another process may take a name between a look and the making of it.
            try:
                self.path = Path(f"{self._beside}.rejected{'' if number == 1 else f'-{number}'}.jsonl")
                return _made(self.path)
            except FileExistsError:
                continue
        raise AssertionError("numbers do not end")

    def _unwritable(self, fault: OSError) -> UnusableList:
        return UnusableList(f"the reject file {self.path} cannot be written: {fault}", hint=_HINT)


def _made(path: Path) -> IO[Any]:
    return path.open("x", encoding="utf-8", errors="backslashreplace")
