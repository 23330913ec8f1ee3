"""One new file: there whole and on the disk, or not there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from genie_connect.api import verdicts
from genie_connect.http import Verdict
from genie_connect.model.outcome import Retry, Scope, State

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def _deferred(reason: str, retry: Retry, hint: str) -> Verdict:
    return Verdict(state=State.DEFERRED, reason=reason, scope=Scope.CONNECTION, retry=retry, hint=hint)


FULL = _deferred("temporary", Retry.ANY, "The disk or a quota is full; make room where the folder is.")
FORBIDDEN = _deferred("auth", Retry.OTHER, "This process may not write there; look at the folder's owner and rights.")
GONE = _deferred("connect", Retry.ANY, "The folder is not there; make it, or set create = true.")
FAILED = _deferred("temporary", Retry.ANY, "The file could not be written; look at the disk.")
ERRORS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EACCES: FORBIDDEN,
    errno.EPERM: FORBIDDEN,
    errno.EROFS: FORBIDDEN,
    errno.ENOENT: GONE,
    errno.ENOTDIR: GONE,
    errno.EEXIST: GONE,
    errno.EFBIG: verdicts.TOO_LARGE,
}
"""What an error of the system means while nothing is in the folder yet; any other is ``FAILED``."""


class UnreadableAttachment(Exception):
    """An attached file could not be read. ``cause`` says why."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(cause.strerror)
        self.cause = cause


class NotFlushed(Exception):
    """The file is in the folder, and a loss of power might still take it away."""


def verdict_of(error: OSError) -> Verdict:
    """What an error says for the recipients of a file that was not put into its folder."""
    return ERRORS.get(error.errno or 0, FAILED)


def attached(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks of a message. Raises ``UnreadableAttachment`` where one of its files cannot be read."""
    try:
        yield from chunks
    except OSError as error:
        raise UnreadableAttachment(error) from error


def write_new(temporary: Path, final: Path, chunks: Iterable[bytes]) -> None:
    """Write a file under the one name, flush it, and give it the other in one step; both are on one file system.

    Only its owner may read it. Raises ``OSError``, or what ``chunks`` raises, with nothing left behind, and
    ``NotFlushed`` with the file in its place.
    """
    descriptor = os.open(temporary, _FLAGS, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(descriptor)
        temporary.rename(final)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    try:
        flush_folder(final.parent)
    except OSError as error:
        raise NotFlushed(error.strerror or "the folder cannot be flushed") from None


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where they are not there: for their owner alone. Raises ``OSError``."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)  # another process may be making it too
    flush_folder(folder.parent)


def flush_folder(folder: Path) -> None:
    """Have the names in a folder on the disk. Raises ``OSError``."""
    if os.name == "nt":
        return  # a folder cannot be opened there
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
