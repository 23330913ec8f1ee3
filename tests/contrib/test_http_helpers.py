"""Retry-After, the table of statuses, and strict JSON."""

from __future__ import annotations

import json
import math
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genie_connect.http import (
    NoAnswer,
    NotSent,
    Response,
    outcomes_of,
    retry_after_s,
    strict_json,
    verdict_of,
    verdict_of_error,
)
from genie_connect.model.address import Address
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.outcome import Retry, Scope, State

NOW = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
ADA = Address.parse("ada@example.com")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("999999999", 86_400.0),
        ("Mon, 23 Nov 2026 10:01:00 GMT", 60.0),
        ("Monday, 23-Nov-26 10:01:00 GMT", 60.0),
        ("Mon Nov 23 10:01:00 2026", 60.0),
        ("Mon, 23 Nov 2026 09:00:00 GMT", 0.0),
        ("Mon, 23 Nov 2126 09:00:00 GMT", 86_400.0),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("1e9", None),
        ("Mon, 99 Nov 2026 10:01:00 GMT", None),
        ("9" * 400, None),
    ],
)
def test_retry_after_is_read_from_seconds_and_from_each_form_of_http_date(value: str, seconds: float | None) -> None:
    """Between 0 and a day; what is no Retry-After is none."""
    assert retry_after_s({"retry-after": value}, NOW) == seconds


@given(st.text(max_size=80))
def test_retry_after_never_raises(value: str) -> None:
    """Whatever a server writes there."""
    seconds = retry_after_s({"retry-after": value}, NOW)
    assert seconds is None or 0 <= seconds <= 86_400


@pytest.mark.parametrize(
    ("status", "state", "scope", "retry", "reason"),
    [
        (301, State.DEFERRED, Scope.CONNECTION, Retry.OTHER, "protocol"),
        (303, State.UNKNOWN, Scope.CONNECTION, Retry.NEVER, "in_doubt"),
        (400, State.REJECTED, Scope.MESSAGE, Retry.OTHER, "permanent"),
        (401, State.DEFERRED, Scope.CONNECTION, Retry.OTHER, "auth"),
        (402, State.DEFERRED, Scope.CONNECTION, Retry.OTHER, "policy"),
        (403, State.DEFERRED, Scope.CONNECTION, Retry.OTHER, "auth"),
        (404, State.DEFERRED, Scope.CONNECTION, Retry.OTHER, "protocol"),
        (408, State.DEFERRED, Scope.CONNECTION, Retry.ANY, "temporary"),
        (409, State.UNKNOWN, Scope.CONNECTION, Retry.NEVER, "in_doubt"),
        (413, State.REJECTED, Scope.MESSAGE, Retry.OTHER, "too_large"),
        (422, State.REJECTED, Scope.MESSAGE, Retry.OTHER, "permanent"),
        (429, State.DEFERRED, Scope.CONNECTION, Retry.ANY, "throttled"),
        (500, State.UNKNOWN, Scope.CONNECTION, Retry.NEVER, "in_doubt"),
        (502, State.UNKNOWN, Scope.CONNECTION, Retry.NEVER, "in_doubt"),
        (503, State.UNKNOWN, Scope.CONNECTION, Retry.NEVER, "in_doubt"),
        (504, State.UNKNOWN, Scope.CONNECTION, Retry.NEVER, "in_doubt"),
        (599, State.UNKNOWN, Scope.CONNECTION, Retry.NEVER, "in_doubt"),
    ],
)
def test_each_status_has_its_verdict(status: int, state: State, scope: Scope, retry: Retry, reason: str) -> None:
    """What does not prove that nothing was taken is unknown, and is not tried elsewhere."""
    verdict = verdict_of(Response(status=status))
    assert verdict is not None
    assert (verdict.state, verdict.scope, verdict.retry, verdict.reason) == (state, scope, retry, reason)


def test_a_documented_503_with_retry_after_was_not_accepted() -> None:
    """Only where the provider documents it, and only with the header field."""
    response = Response(status=503, headers=FrozenMap({"retry-after": "7"}))
    assert verdict_of(response).state is State.UNKNOWN  # type: ignore[union-attr]  # a 503 has a verdict
    verdict = verdict_of(response, not_accepted=(503,))
    assert verdict is not None
    (outcome,) = outcomes_of([ADA], response, verdict, now=NOW, text="come back")
    assert (outcome.state, outcome.retry, outcome.retry_after_s) == (State.DEFERRED, Retry.ANY, 7.0)
    assert (outcome.code, outcome.stage, outcome.text) == (503, "final", "come back")


def test_a_provider_overrides_single_rows() -> None:
    """A provider that documents its 409 as "not accepted" says so in its own table."""
    row = verdict_of(Response(status=429))
    assert row is not None
    assert verdict_of(Response(status=409), overrides={409: row}) is row
    assert verdict_of(Response(status=204)) is None


@pytest.mark.parametrize(
    ("error", "state", "stage", "retry", "reason"),
    [
        (NotSent("dns", "m"), State.DEFERRED, "connect", Retry.ANY, "connect"),
        (NotSent("connect", "m"), State.DEFERRED, "connect", Retry.ANY, "connect"),
        (NotSent("time_out", "m"), State.DEFERRED, "connect", Retry.ANY, "connect"),
        (NotSent("pool", "m"), State.DEFERRED, "connect", Retry.ANY, "connect"),
        (NotSent("tls", "m"), State.DEFERRED, "connect", Retry.ANY, "tls"),
        (NotSent("certificate", "m"), State.DEFERRED, "connect", Retry.OTHER, "tls"),
        (NotSent("refused_locally", "m"), State.DEFERRED, "connect", Retry.OTHER, "protocol"),
        (NoAnswer("time_out", "m"), State.UNKNOWN, "request", Retry.NEVER, "in_doubt"),
        (NoAnswer("oversize", "m", status=200), State.UNKNOWN, "request", Retry.NEVER, "in_doubt"),
    ],
)
def test_each_transport_error_has_its_outcome(
    error: NotSent | NoAnswer, state: State, stage: str, retry: Retry, reason: str
) -> None:
    """Not sent is deferred; written without an answer is unknown; a certificate stays wrong however often one asks."""
    (outcome,) = outcomes_of([ADA], error, verdict_of_error(error), now=NOW)
    assert (outcome.state, outcome.stage, outcome.retry, outcome.reason) == (state, stage, retry, reason)
    assert outcome.hint
    assert pickle.loads(pickle.dumps(error)).reason == error.reason


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"1" * 4_300_000,
        b"1" * 5000,
        b'{"a": 1, "a": 2}',
        b"NaN",
        b"[-Infinity]",
        b"1e999",
        b'"\\ud800"',
        b'{"\\udfff": 1}',
        b'"\xff"',
        b"",
        b"{",
        b"\xef\xbb\xbf{}",
    ],
)
def test_json_that_readers_would_differ_on_is_refused(raw: bytes) -> None:
    """Always with ValueError, never with RecursionError or another."""
    with pytest.raises(ValueError, match=r"\w"):
        strict_json(raw)


def test_json_within_the_limits_is_read() -> None:
    """Depth 64 and a whole surrogate pair are fine."""
    assert strict_json(b'{"a": ["\\ud83d\\ude00", 1.5, null]}') == {"a": ["\U0001f600", 1.5, None]}
    strict_json(b"[" * 64 + b"]" * 64)


@given(st.binary(max_size=60))
def test_strict_json_raises_nothing_but_value_error(raw: bytes) -> None:
    """Any bytes are read or refused."""
    try:
        strict_json(raw)
    except ValueError:
        return


def _first_principles(raw: bytes) -> Any:
    """The same by the plainest means: each object looked at as it is decoded, then each level."""

    def unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError
        return dict(pairs)

    def finite(text: str) -> float:
        if not math.isfinite(float(text)):
            raise ValueError
        return float(text)

    value = json.loads(raw.decode(), object_pairs_hook=unrepeated, parse_float=finite, parse_constant=finite)
    json.dumps(value, ensure_ascii=False).encode()
    return value


_blank = st.sampled_from(["", "", "", " ", "\n", "\t", "\r", " \r\n "])
_text = st.sampled_from(
    ['"a"', '"b"', '"\\":"', '"\\" :"', '"a\\""', '": "', '":"', '"\\\\"', '"\\u0061"', '"\\ud800"', '"é"']
)
_scalar = st.sampled_from(["1", "-0.5", "1e999", "NaN", "null", "true", "{", "1" * 5000])


def _written(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(_blank, _text, _blank, st.just(":"), _blank, inner, _blank).map("".join)
    objects = st.lists(pair, max_size=4).map(lambda pairs: "{" + ",".join(pairs) + "}")
    return objects | st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]")


@settings(max_examples=400)
@given(st.recursive(_text | _scalar, _written, max_leaves=12))
def test_repeated_keys_are_found_however_they_are_written(text: str) -> None:
    """With blanks before the colon, colons and escaped quotes in texts, escapes for the same letter."""
    try:
        expected: Any = _first_principles(text.encode())
    except ValueError:
        expected = ValueError
    try:
        found: Any = strict_json(text.encode())
    except ValueError:
        found = ValueError
    assert found == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a" :1,"a":2}', "repeats a key"),
        ('{"a"\n:1,"a":2,"b":"\\":"}', "repeats a key"),
        ('[{"a":{"b":1,"b":2}}]', "repeats a key"),
        ('{"a":1,"\\u0061":2}', "repeats a key"),
        ('{"a":1,"a":2', "repeats a key|malformed|Expecting"),
        ('{"a":NaN}', "holds NaN"),
        ('{"a":1e999}', "too big"),
        ('"' + "a" * 10 + '\\udc00"', "surrogate"),
        ("[" * 65 + '{"a":1,"a":2}' + "]" * 65, "repeats a key"),
        ("[" * 65 + "]" * 65, "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_refusal_says_what_is_wrong(text: str, problem: str) -> None:
    """One thing, and the first that a reader meets."""
    with pytest.raises(ValueError, match=problem):
        strict_json(text.encode())
