"""Signing beside an event loop: what stays on it, what goes to threads, and what becomes of each message."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import pytest

from genie_connect.errors import ValidationError
from genie_connect.mime import Composed
from genie_connect.mime.dkim import DkimSigner
from genie_connect.mime.dkim_key import DkimKey
from genie_connect.mime.signing import GROUP, TURN_S, SigningPool
from genie_connect.model.attachment import Attachment
from genie_connect.model.message import Message
from tests.mime.dkim_keys import ed25519_key, rsa_key, verified
from tests.mime.making import NOON, SENDER, composed


class _Recording(DkimSigner):
    """Notes for each signature whether it was made on the loop, and how many were made at the same time."""

    def __init__(self, *keys: DkimKey) -> None:
        super().__init__(keys)
        self.on_loop: list[bool] = []
        self.most_at_once = 0
        self._loop_thread = threading.get_ident()
        self._at_once = 0
        self._lock = threading.Lock()

    def sign(self, head: bytes, body_chunks: Iterable[bytes], *, now: datetime) -> bytes:
        with self._lock:
            self.on_loop.append(threading.get_ident() == self._loop_thread)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return super().sign(head, body_chunks, now=now)
        finally:
            with self._lock:
                self._at_once -= 1


class _Timer:
    """Every signature takes this long."""

    def __init__(self, cost_s: float) -> None:
        self._cost_s = cost_s
        self._now_s = 0.0

    def __call__(self) -> float:
        # Read before and after each; the difference is the cost when nothing else reads in between.
        self._now_s += self._cost_s
        return self._now_s


def _messages(count: int) -> list[Composed]:
    return [
        composed(Message(from_=SENDER, to=["bob@example.org"], subject=f"Number {number}", text=f"{number}\n"))
        for number in range(count)
    ]


async def _sign_all(pool: SigningPool, messages: list[Composed]) -> list[Composed]:
    return await asyncio.gather(*[pool.sign(message, now=NOON) for message in messages])


async def test_one_message_is_signed_on_the_loop() -> None:
    """A thread would cost half a signature more."""
    signer = _Recording(rsa_key())
    (message,) = _messages(1)
    signed = await SigningPool(signer).sign(message, now=NOON)
    assert signer.on_loop == [True]
    assert verified(signed.as_bytes(), rsa_key()) == [True]
    assert signed.as_bytes().endswith(message.as_bytes())


async def test_many_at_once_go_to_threads_and_each_gets_its_own_signature() -> None:
    """What a turn of the loop has no time for."""
    signer = _Recording(rsa_key(1024), ed25519_key())
    messages = _messages(5 * GROUP)
    signed = await _sign_all(SigningPool(signer, threads=2, timer=_Timer(TURN_S * 0.4)), messages)
    assert signer.on_loop.count(True) == 2
    assert len(signer.on_loop) == len(messages)
    assert signer.most_at_once <= 3
    for result, message in zip(signed, messages, strict=True):
        assert result.as_bytes().endswith(message.as_bytes())
        assert verified(result.as_bytes(), rsa_key(1024), ed25519_key()) == [True, True]


async def test_the_loop_signs_again_in_its_next_turn() -> None:
    """One after the other there is time for each."""
    signer = _Recording(rsa_key(1024))
    pool = SigningPool(signer, timer=_Timer(TURN_S * 0.9))
    for message in _messages(5):
        await pool.sign(message, now=NOON)
        await asyncio.sleep(0)
    assert signer.on_loop == [True] * 5


async def test_a_signature_that_takes_too_long_is_never_made_on_the_loop_again() -> None:
    """As with a key of 4096 bits; the first one shows it."""
    signer = _Recording(rsa_key(1024))
    pool = SigningPool(signer, timer=_Timer(TURN_S * 3))
    for message in _messages(4):
        await pool.sign(message, now=NOON)
        await asyncio.sleep(0)
    assert signer.on_loop == [True, False, False, False]


async def test_ed25519_stays_on_the_loop_and_lets_it_turn() -> None:
    """Threads would only take the interpreter from it; others have their turns in between."""
    signer = _Recording(ed25519_key())
    messages = _messages(20)
    signing = asyncio.ensure_future(_sign_all(SigningPool(signer, timer=_Timer(TURN_S * 0.4)), messages))
    turns = 0
    while not signing.done():
        turns += 1
        await asyncio.sleep(0)
    assert signer.on_loop == [True] * 20
    assert turns >= 10
    assert all(verified(signed.as_bytes(), ed25519_key()) == [True] for signed in signing.result())


@pytest.mark.parametrize("key", [rsa_key(1024), ed25519_key()], ids=["rsa", "ed25519"])
async def test_big_messages_and_files_go_to_threads(key: DkimKey, tmp_path: Path) -> None:
    """Hashing a megabyte, or waiting for a disk, is nothing for the loop."""
    path = tmp_path / "note.txt"
    path.write_text("small")
    big = composed(Message(from_=SENDER, to=["bob@example.org"], text="words\n" * 50_000))
    filed = composed(Message(from_=SENDER, to=["bob@example.org"], text="t", attachments=[Attachment.from_path(path)]))
    signer = _Recording(key)
    signed = await _sign_all(SigningPool(signer), [big, filed])
    assert signer.on_loop == [False, False]
    assert [verified(result.as_bytes(), key) for result in signed] == [[True], [True]]


async def test_a_file_that_cannot_be_read_is_the_error_of_its_own_message(tmp_path: Path) -> None:
    """The others of its group are signed."""
    paths = [tmp_path / name for name in ("gone", "changed", "good")]
    for path in paths:
        path.write_text("one")
    messages = [
        composed(Message(from_=SENDER, to=["bob@example.org"], text="t", attachments=[Attachment.from_path(path)]))
        for path in paths
    ]
    paths[0].unlink()
    paths[1].write_text("another")
    pool = SigningPool(DkimSigner([ed25519_key()]), threads=1)
    results = await asyncio.gather(*[pool.sign(message, now=NOON) for message in messages], return_exceptions=True)
    gone, changed, good = results
    assert isinstance(gone, FileNotFoundError)
    assert isinstance(changed, ValidationError)
    assert isinstance(good, Composed)
    assert verified(good.as_bytes(), ed25519_key()) == [True]


async def test_who_is_cancelled_takes_nobody_along() -> None:
    """Neither those of the same group nor those who come later."""
    pool = SigningPool(DkimSigner([rsa_key(1024)]), threads=1, timer=_Timer(TURN_S))
    tasks = [asyncio.ensure_future(pool.sign(message, now=NOON)) for message in _messages(2 * GROUP)]
    await asyncio.sleep(0)
    for task in tasks[1::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, Composed) for result in results] == [True, False] * GROUP
    (later,) = _messages(1)
    assert verified((await pool.sign(later, now=NOON)).as_bytes(), rsa_key(1024)) == [True]


async def test_no_more_threads_than_allowed_sign_at_once() -> None:
    """However many wait."""
    signer = _Recording(rsa_key(1024))
    await _sign_all(SigningPool(signer, threads=1, timer=_Timer(TURN_S)), _messages(40))
    assert signer.most_at_once <= 2  # the thread, and the one that the loop begins with


async def test_sign_now_signs_only_what_the_turn_has_time_for() -> None:
    """Whoever cannot wait is told to."""
    signer = _Recording(rsa_key(1024))
    pool = SigningPool(signer, threads=1, timer=_Timer(TURN_S * 0.6))
    first, second, third = _messages(3)
    big = composed(Message(from_=SENDER, to=["bob@example.org"], text="words\n" * 50_000))
    signed = pool.sign_now(first, now=NOON)
    assert signed is not None
    assert verified(signed.as_bytes(), rsa_key(1024)) == [True]
    assert pool.sign_now(second, now=NOON) is None
    assert pool.sign_now(big, now=NOON) is None
    await asyncio.sleep(0)
    assert pool.sign_now(second, now=NOON) is not None
    await asyncio.sleep(0)
    handed_over = asyncio.ensure_future(pool.sign(big, now=NOON))
    await asyncio.sleep(0)
    assert pool.sign_now(third, now=NOON) is None
    await handed_over
    await asyncio.sleep(0)
    assert pool.sign_now(third, now=NOON) is not None
    assert signer.on_loop == [True, True, False, True]
