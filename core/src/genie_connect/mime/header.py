"""Header fields: how each kind of value is written and folded (RFC 5322 section 2.2.3).

Every function gives the whole field, with its line end. Lines break only before a blank that is there anyway, so that
unfolding gives the value back; a word is never cut, except into encoded-words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

from genie_connect.mime.encoded_word import LEAST_ROOM, MAX_OCTETS, encoded_words
from genie_connect.model.address import Address

FOLD_AT = 76  # RFC 2047 section 2 asks for this where RFC 5322 section 2.1.1 would be content with 78
LONGEST_WORD = 900  # with the longest field name it still stays below the 998 octets of RFC 5322 section 2.1.1
_MAX_QUOTED = 72

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ATOMS = re.compile(rf"{_ATEXT}(?: {_ATEXT})*\Z")
_PARAMETER_VALUE = re.compile(r"[ !#-\[\]-~]*\Z")  # printable ASCII without the quote and the backslash
_NOT_IN_FALLBACK = re.compile(r"[^ !#-\[\]-~]")

# RFC 2231 section 7, attribute-char; what is left out here need not be, but nobody misreads it as %XX.
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PERCENT = tuple(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in range(256))

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class _Field:
    """One field being written, word by word."""

    __slots__ = ("_column", "_empty", "_pieces")

    def __init__(self, name: str) -> None:
        self._pieces = [name, ":"]
        self._column = len(name) + 1
        self._empty = True

    def word(self, word: str, blanks: str = " ") -> None:
        # The first word stays beside the name: a first line without any text irritates some readers.
        if self._column + len(blanks) + len(word) > FOLD_AT and not self._empty:
            self._fold()
        self._pieces += (blanks, word)
        self._column += len(blanks) + len(word)
        self._empty = False

    def words(self, words: Sequence[str]) -> None:
        """Words between which there was a blank; an empty word stands for a further one."""
        blanks = ""
        for word in words:
            blanks += " "
            if word:
                self.word(word, blanks)
                blanks = ""

    def encoded(self, text: str) -> None:
        room = FOLD_AT - self._column - 1
        if room < LEAST_ROOM:
            self._fold()
            room = MAX_OCTETS
        for word in encoded_words(text, room):
            self.word(word)

    def _fold(self) -> None:
        self._pieces.append("\r\n")
        self._column = 0
        self._empty = True

    def written(self) -> str:
        self._pieces.append("\r\n")
        return "".join(self._pieces)


def unstructured(name: str, value: str) -> str:
    """Free text (RFC 5322 section 3.2.5); what is not ASCII, or could be taken for an encoded-word, is encoded."""
    plain = value.isascii() and "=?" not in value and not value.startswith(" ") and not value.endswith(" ")
    if plain and len(name) + 2 + len(value) <= FOLD_AT:
        return f"{name}: {value}\r\n"
    words = value.split(" ")
    first, last = _to_encode(words)
    field = _Field(name)
    field.words(words[:first])
    if first < last:
        field.encoded(" ".join(words[first:last]))
    field.words(words[last:])
    return field.written()


def kept(name: str, value: str) -> str:
    """A field with a syntax of its own, such as References or List-Unsubscribe: folded, never encoded."""
    if len(name) + 2 + len(value) <= FOLD_AT:
        return f"{name}: {value}\r\n"
    field = _Field(name)
    field.words(value.split(" "))
    return field.written()


def address_list(name: str, addresses: Sequence[Address]) -> str:
    """Mailboxes (RFC 5322 section 3.4). Only a local part beyond ASCII is written as UTF-8 (RFC 6532)."""
    field = _Field(name)
    last = len(addresses) - 1
    for index, address in enumerate(addresses):
        comma = "," if index < last else ""
        if address.name:
            _phrase(field, address.name)
            field.word(f"<{address.email}>{comma}")
        else:
            field.word(address.email + comma)
    return field.written()


def date(when: datetime) -> str:
    """A date-time (RFC 5322 section 3.3), in its own time zone, or in UTC where it has none."""
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    offset = when.utcoffset()
    if offset is None or offset.microseconds or offset.seconds % 60:
        # Local mean times of long ago have seconds, which the format cannot say.
        when = when.astimezone(UTC)
    return (
        f"{_DAYS[when.weekday()]}, {when.day} {_MONTHS[when.month - 1]} {when.year:04d} "
        f"{when.hour:02d}:{when.minute:02d}:{when.second:02d} {when:%z}"
    )


def parameters(name: str, value: str, given: Sequence[tuple[str, str]]) -> str:
    """A field with parameters (RFC 2045 section 5.1), such as ``Content-Type: text/csv; name="a.csv"``."""
    words = [value, *(word for key, text in given for word in _parameter(key, text))]
    field = _Field(name)
    field.words([f"{word};" for word in words[:-1]] + words[-1:])
    return field.written()


def _to_encode(words: Sequence[str]) -> tuple[int, int]:
    """From where to where words have to be encoded; blanks next to them count with them, or readers lose some."""
    marked = [
        index
        for index, word in enumerate(words)
        if not word.isascii() or "=?" in word or len(word) > LONGEST_WORD or (not word and index in (0, len(words) - 1))
    ]
    if not marked:
        return len(words), len(words)
    first, last = marked[0], marked[-1]
    while first > 0 and not words[first - 1]:
        first -= 1
    while last < len(words) - 1 and not words[last + 1]:
        last += 1
    return first, last + 1


def _phrase(field: _Field, name: str) -> None:
    """A display name: atoms where it can, else a quoted-string, else encoded-words (RFC 5322 section 3.2.5)."""
    if "=?" not in name:
        if _ATOMS.match(name):
            field.words(name.split(" "))
            return
        quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        # A quoted-string is not folded: readers disagree whether the line break inside belongs to the name.
        if name.isascii() and len(quoted) <= _MAX_QUOTED:
            field.word(quoted)
            return
    field.encoded(name)


def _parameter(key: str, value: str) -> list[str]:
    if _PARAMETER_VALUE.match(value) and "=?" not in value:
        return [f'{key}="{value}"']
    # Readers that know RFC 2231 take the second form, others (Outlook of some ages among them) the first.
    return [f'{key}="{_fallback(value)}"', *_extended(key, value)]


def _fallback(value: str) -> str:
    decomposed = unicodedata.normalize("NFKD", value)
    base = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return _NOT_IN_FALLBACK.sub("_", base).replace("=?", "=_")


def _extended(key: str, value: str) -> list[str]:
    """RFC 2231 section 4, in continuations (section 3) where it is long; no character is cut in two."""
    letters = ["".join([_PERCENT[byte] for byte in letter.encode()]) for letter in value]
    whole = f"{key}*=UTF-8''{''.join(letters)}"
    if len(whole) < FOLD_AT - 1:
        return [whole]
    segments: list[str] = []
    segment = f"{key}*0*=UTF-8''"
    for letter in letters:
        if len(segment) + len(letter) >= FOLD_AT - 1:
            segments.append(segment)
            segment = f"{key}*{len(segments)}*="
        segment += letter
    return [*segments, segment]
