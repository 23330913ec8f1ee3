"""The gate every recipient passes, and the lists it asks."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Protocol, TypeAlias

import attrs

from genie_connect.clock import Clock, SystemClock
from genie_connect.errors import ConfigurationError
from genie_connect.model.address import Address, AddressLike
from genie_connect.model.batch import GATE, Cleared
from genie_connect.model.codec import structure, unstructure
from genie_connect.model.message import Purpose
from genie_connect.model.outcome import Outcome, State
from genie_connect.model.suppression import Suppression, SuppressionReason, SuppressionScope


class SuppressionStore(Protocol):
    """Where suppressions are kept. One address may have one suppression for each scope."""

    async def find(self, keys: Iterable[str]) -> Mapping[str, tuple[Suppression, ...]]:
        """The suppressions of those keys that have any."""
        ...

    async def put(self, suppressions: Iterable[Suppression]) -> None:
        """Keep them; each replaces what the same address had in the same scope."""
        ...

    async def discard(self, key: str, scope: SuppressionScope | None) -> int:
        """Forget those of an address, of one scope or of all, and say how many there were."""
        ...

    def all(self) -> AsyncIterator[Suppression]:
        """Every suppression, in the order of being added."""
        ...


class MemorySuppressions:
    """Suppressions in memory, gone with the process."""

    def __init__(self, suppressions: Iterable[Suppression] = ()) -> None:
        self._by_key: dict[str, dict[SuppressionScope, Suppression]] = {}
        self._put(suppressions)

    async def find(self, keys: Iterable[str]) -> Mapping[str, tuple[Suppression, ...]]:
        """The suppressions of those keys that have any."""
        return {key: tuple(self._by_key[key].values()) for key in keys if key in self._by_key}

    async def put(self, suppressions: Iterable[Suppression]) -> None:
        """Keep them; each replaces what the same address had in the same scope."""
        self._put(suppressions)

    async def discard(self, key: str, scope: SuppressionScope | None) -> int:
        """Forget those of an address, and say how many there were."""
        scopes = self._by_key.get(key, {})
        gone = [found for found in scopes if scope is None or found is scope]
        for found in gone:
            del scopes[found]
        if not scopes:
            self._by_key.pop(key, None)
        return len(gone)

    async def all(self) -> AsyncIterator[Suppression]:
        """Every suppression, in the order of being added."""
        for suppression in [each for scopes in self._by_key.values() for each in scopes.values()]:
            yield suppression

    def _put(self, suppressions: Iterable[Suppression]) -> None:
        for suppression in suppressions:
            self._by_key.setdefault(suppression.key, {})[suppression.scope] = suppression


class FileSuppressions(MemorySuppressions):
    """Suppressions in memory and in a JSON Lines file, rewritten as a whole at each change.

    For lists of thousands, as on a developer's machine. What another process changes in the file is read before the
    next use; two that change it in the same moment are not kept apart. Raises ``ConfigurationError`` where the file
    holds something else; it is then left as it is.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self._path = Path(path)
        self._changing = asyncio.Lock()
        self._seen: _Stamp | None = None
        self._unwritten: list[Suppression] = []
        self._load()

    async def find(self, keys: Iterable[str]) -> Mapping[str, tuple[Suppression, ...]]:
        """The suppressions of those keys that have any."""
        await self._refresh()
        return await super().find(keys)

    async def put(self, suppressions: Iterable[Suppression]) -> None:
        """Keep them, in the file too. Where it cannot be written, they count until the end of the process."""
        async with self._changing:
            await self._reread()
            self._unwritten.extend(suppressions)
            self._put(self._unwritten)
            await self._write()

    async def discard(self, key: str, scope: SuppressionScope | None) -> int:
        """Forget those of an address, in the file too."""
        async with self._changing:
            await self._reread()
            gone = await super().discard(key, scope)
            if gone:
                self._unwritten = [each for each in self._unwritten if each.key != key]
                await self._write()
        return gone

    async def all(self) -> AsyncIterator[Suppression]:
        """Every suppression, in the order of being added."""
        await self._refresh()
        async for suppression in super().all():
            yield suppression

    async def _refresh(self) -> None:
        if self._is_newer():
            async with self._changing:
                await self._reread()

    async def _reread(self) -> None:
        if self._is_newer():
            await asyncio.to_thread(self._load)

    def _is_newer(self) -> bool:
        # A file that has gone is no empty list: somebody is just replacing it, or has made a mistake.
        try:
            return _stamp(self._path.stat()) != self._seen
        except OSError:
            return False

    def _load(self) -> None:
        try:
            with self._path.open(encoding="utf-8") as file:
                seen, text = _stamp(os.fstat(file.fileno())), file.read()
        except FileNotFoundError:
            return
        except (OSError, UnicodeError) as error:
            raise ConfigurationError(f"the suppressions file {self._path} cannot be read: {error}") from None
        found = [self._parsed(number, line) for number, line in enumerate(text.split("\n"), 1) if line]
        self._by_key = {}
        self._put((*found, *self._unwritten))
        self._seen = seen

    def _parsed(self, number: int, line: str) -> Suppression:
        try:
            return structure(Suppression, json.loads(line))
        except (ValueError, RecursionError) as error:
            hint = "repair the line or move the file away; it has not been changed"
            raise ConfigurationError(f"{self._path}, line {number}: {error}", hint=hint) from None

    async def _write(self) -> None:
        lines = [json.dumps(unstructure(suppression)) + "\n" async for suppression in super().all()]
        self._seen = await asyncio.to_thread(self._replace_file, lines)
        self._unwritten = []

    def _replace_file(self, lines: list[str]) -> _Stamp:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
                stamp = _stamp(os.fstat(file.fileno()))
            Path(name).replace(self._path)
        except OSError:
            with suppress(OSError):
                Path(name).unlink()
            raise
        return stamp


class JoinedSuppressions:
    """Two lists as one: both stop, new ones are kept in the first."""

    def __init__(self, first: SuppressionStore, second: SuppressionStore) -> None:
        self._both = (first, second)

    async def find(self, keys: Iterable[str]) -> Mapping[str, tuple[Suppression, ...]]:
        """The suppressions of those keys that have any, in either."""
        asked = tuple(keys)
        found: dict[str, tuple[Suppression, ...]] = {}
        for store in self._both:
            for key, suppressions in (await store.find(asked)).items():
                found[key] = found.get(key, ()) + suppressions
        return found

    async def put(self, suppressions: Iterable[Suppression]) -> None:
        """Keep them in the first."""
        await self._both[0].put(suppressions)

    async def discard(self, key: str, scope: SuppressionScope | None) -> int:
        """Forget those of an address in both, and say how many there were."""
        return sum([await store.discard(key, scope) for store in self._both])

    async def all(self) -> AsyncIterator[Suppression]:
        """Every suppression of the first, then of the second."""
        for store in self._both:
            async for suppression in store.all():
                yield suppression


_Stamp: TypeAlias = tuple[int, int, int]


def _stamp(status: os.stat_result) -> _Stamp:
    """What tells one state of a file from another."""
    return (status.st_ino, status.st_mtime_ns, status.st_size)


@attrs.frozen(kw_only=True)
class Clearance:
    """What the gate says of a set of recipients."""

    cleared: tuple[Cleared, ...]
    suppressed: tuple[Outcome, ...]


class SuppressionGate:
    """The only maker of ``Cleared`` recipients, and the list as the host sees it (``host.suppressions``)."""

    def __init__(self, store: SuppressionStore | None = None, *, clock: Clock | None = None) -> None:
        self._store = store if store is not None else MemorySuppressions()
        self._clock = clock or SystemClock()

    def ask(self, store: SuppressionStore) -> None:
        """Ask this list from now on, and keep new ones in it."""
        self._store = store

    async def clear(self, addresses: Iterable[Address], purpose: Purpose) -> Clearance:
        """Let through who may be written to for this purpose; each mailbox once."""
        unique = {address.key: address for address in addresses}
        stopped = await self._stopped(unique, purpose)
        return Clearance(
            cleared=tuple([Cleared(address, GATE) for key, address in unique.items() if key not in stopped]),
            suppressed=tuple(stopped.values()),
        )

    async def recheck(self, addresses: Iterable[Address], purpose: Purpose) -> tuple[Outcome, ...]:
        """Who of these, all let through before, may no longer be written to."""
        return tuple((await self._stopped({address.key: address for address in addresses}, purpose)).values())

    async def _stopped(self, addresses: Mapping[str, Address], purpose: Purpose) -> dict[str, Outcome]:
        found = await self._store.find(addresses)
        now = self._clock.now()
        stopped: dict[str, Outcome] = {}
        for key in [key for key in addresses if key in found] if found else ():
            stopping = next((each for each in found[key] if each.stops(purpose, now)), None)
            if stopping is not None:
                stopped[key] = _suppressed(addresses[key], stopping)
        return stopped

    async def check(self, address: AddressLike, purpose: Purpose = Purpose.TRANSACTIONAL) -> Suppression | None:
        """What stops this address, or ``None``."""
        key = Address.parse(address).key
        now = self._clock.now()
        found = (await self._store.find([key])).get(key, ())
        return next((each for each in found if each.stops(purpose, now)), None)

    async def add(
        self,
        address: AddressLike,
        *,
        reason: SuppressionReason | str = SuppressionReason.MANUAL,
        scope: SuppressionScope | str | None = None,
        source: str = "",
        expires_s: float | None = None,
    ) -> Suppression:
        """Suppress an address, for ``expires_s`` seconds or for good.

        Without a scope an unsubscribe stops marketing, anything else everything.
        """
        reason = SuppressionReason(reason)
        if scope is None:
            scope = SuppressionScope.MARKETING if reason is SuppressionReason.UNSUBSCRIBE else SuppressionScope.ALL
        now = self._clock.now()
        suppression = Suppression(
            address=Address.parse(Address.parse(address).email),
            scope=SuppressionScope(scope),
            reason=reason,
            source=source,
            added=now,
            expires=None if expires_s is None else now + timedelta(seconds=expires_s),
        )
        await self._store.put([suppression])
        return suppression

    async def remove(self, address: AddressLike, *, scope: SuppressionScope | str | None = None) -> int:
        """Write to this address again; the number of suppressions that were lifted."""
        return await self._store.discard(Address.parse(address).key, None if scope is None else SuppressionScope(scope))

    def all(self) -> AsyncIterator[Suppression]:
        """Every suppression, in the order of being added."""
        return self._store.all()


def _suppressed(address: Address, suppression: Suppression) -> Outcome:
    since = suppression.added.date().isoformat()
    return Outcome(
        recipient=address.email,
        state=State.SUPPRESSED,
        reason=suppression.reason.value,
        hint=f"Suppressed since {since} ({suppression.reason.value}, scope {suppression.scope.value}).",
    )
