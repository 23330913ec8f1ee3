"""Header fields: how each kind of value is written and folded (RFC 5322 section 2.2.3).

Every function gives the whole field, with its line end. Lines break only before a blank that is there anyway, so that
unfolding gives the value back; a word is never cut, except into encoded-words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from genie_connect.mime.encoded_word import LEAST_ROOM, MAX_OCTETS, encoded_words
from genie_connect.model.address import Address

FOLD_AT = 76  # RFC 2047 section 2 asks for this where RFC 5322 section 2.1.1 would be content with 78
LONGEST_WORD = 900  # with the longest field name it still stays below the 998 octets of RFC 5322 section 2.1.1
_LONGEST_GAP = 60
_MAX_QUOTED = 72

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ATOMS = re.compile(rf"{_ATEXT}(?: {_ATEXT})*\Z")
_QUOTABLE = re.compile(r"[ !#-\[\]-~]*\Z")  # printable ASCII without the quote and the backslash

# RFC 2231 section 7, attribute-char; what is left out here need not be, but nobody misreads it as %XX.
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PERCENT = tuple(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in range(256))

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MINUTE = timedelta(minutes=1)


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
    field.words(value.split())
    return field.written()


def address_list(name: str, addresses: Sequence[Address]) -> str:
    """Mailboxes (RFC 5322 section 3.4). Only a local part beyond ASCII is written as UTF-8 (RFC 6532)."""
    if len(addresses) == 1:
        short = _short_mailbox(addresses[0], FOLD_AT - len(name) - 2)
        if short:
            return f"{name}: {short}\r\n"
    field = _Field(name)
    last = len(addresses) - 1
    for index, address in enumerate(addresses):
        comma = "," if index < last else ""
        if not address.name:
            field.word(address.email + comma)
            continue
        phrase = _phrase(address.name)
        if not phrase:
            field.encoded(address.name)
        else:
            # A quoted-string is not folded: readers disagree whether the line break inside belongs to the name.
            field.words([phrase] if phrase.startswith('"') else phrase.split(" "))
        field.word(f"<{address.email}>{comma}")
    return field.written()


def date(when: datetime) -> str:
    """A date-time (RFC 5322 section 3.3), in its own time zone, or in UTC where it has none."""
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    offset = when.utcoffset() or timedelta()
    if offset.seconds % 60 or offset.microseconds:
        # Local mean times of long ago have seconds, which the format cannot say.
        when, offset = when.astimezone(UTC), timedelta()
    minutes = offset // _MINUTE
    hours, rest = divmod(abs(minutes), 60)
    return (
        f"{_DAYS[when.weekday()]}, {when.day} {_MONTHS[when.month - 1]} {when.year:04d} "
        f"{when.hour:02d}:{when.minute:02d}:{when.second:02d} {'-' if minutes < 0 else '+'}{hours:02d}{rest:02d}"
    )


def content_type(value: str, filename: str) -> str:
    """Content-Type of a file, with its name.

    RFC 2047 section 5 keeps encoded-words out of parameters. This is where Outlook looks for a name beyond ASCII all
    the same, and shows "Untitled attachment" without it; who reads Content-Disposition finds the name as it should be.
    """
    if _is_simple(filename):
        return _with_parameters("Content-Type", [f"{value};", f'name="{filename}"'])
    words = list(encoded_words(filename, FOLD_AT - len(' name=""')))
    words[0] = f'name="{words[0]}'
    words[-1] += '"'
    return _with_parameters("Content-Type", [f"{value};", *words])


def content_disposition(value: str, filename: str) -> str:
    """Content-Disposition (RFC 2183), a name beyond ASCII written after RFC 2231."""
    if _is_simple(filename):
        return _with_parameters("Content-Disposition", [f"{value};", f'filename="{filename}"'])
    segments = _extended("filename", filename)
    return _with_parameters("Content-Disposition", [f"{value};", *(f"{one};" for one in segments[:-1]), segments[-1]])


def _to_encode(words: Sequence[str]) -> tuple[int, int]:
    """From where to where words have to be encoded; blanks next to them count with them, or readers lose some."""
    ends = (0, len(words) - 1)
    # So many blanks would fill a line, and nothing could be folded between them.
    gap = " " * _LONGEST_GAP in " ".join(words)
    marked = [
        index
        for index, word in enumerate(words)
        if not word.isascii() or "=?" in word or len(word) > LONGEST_WORD or (not word and (gap or index in ends))
    ]
    if not marked:
        return len(words), len(words)
    first, last = marked[0], marked[-1]
    while first > 0 and not words[first - 1]:
        first -= 1
    while last < len(words) - 1 and not words[last + 1]:
        last += 1
    return first, last + 1


def _short_mailbox(address: Address, room: int) -> str:
    """The mailbox if it needs neither encoded-words nor more than ``room``, as nearly all do."""
    phrase = _phrase(address.name) if address.name else ""
    if address.name and not phrase:
        return ""
    mailbox = f"{phrase} <{address.email}>" if phrase else address.email
    return mailbox if len(mailbox) <= room else ""


def _phrase(name: str) -> str:
    """A display name as atoms where it can be, else as a quoted-string (RFC 5322 section 3.2.5), else nothing."""
    if "=?" in name or not name.isascii():
        return ""
    if _ATOMS.match(name):
        return name
    quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return quoted if len(quoted) <= _MAX_QUOTED else ""


def _is_simple(filename: str) -> bool:
    """Whether it can stand between quotes as it is, and nobody takes it for an encoded-word."""
    return _QUOTABLE.match(filename) is not None and "=?" not in filename


def _with_parameters(name: str, words: Sequence[str]) -> str:
    field = _Field(name)
    for word in words:
        field.word(word)
    return field.written()


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
