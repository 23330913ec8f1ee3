"""Messages as bytes for the wire (RFC 5322, MIME).

The writer is our own: CPython's ``email`` has releases that inject headers, split recipients and glue encoded-words
together (CVE-2024-6923, CVE-2026-1299, python/cpython issues 121284 and 144156). It only reads, in the tests.
"""

from genie_connect.mime.composer import Composed, compose
from genie_connect.mime.gate import check_header, check_wire
from genie_connect.mime.template import CompiledMessage, Composer, compile_message, composer_of

__all__ = [
    "CompiledMessage",
    "Composed",
    "Composer",
    "check_header",
    "check_wire",
    "compile_message",
    "compose",
    "composer_of",
]
