"""The origin that a client is bound to."""

from __future__ import annotations

import pytest

from genie_connect.http.target import Origin


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://LOCALHOST:80/", "http://localhost"),
        ("https://api.example.com:443/v3/", "https://api.example.com/v3"),
        ("http://[::1]:8925", "http://[::1]:8925"),
    ],
)
def test_a_base_url_has_one_spelling(given: str, url: str) -> None:
    """Case, default port and a slash at the end do not matter."""
    assert Origin.of(given).url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "ftp://a.example",
        "http://",
        "http://a:0",
        "http://a:99999",
        "http://a:x",
        "http://u:p@a",
        "http://a/?q",
        "http://a/#f",
        "http://a/../b",
        "http://a b",
        "http://ä.example",
    ],
)
def test_a_base_url_that_cannot_be_one_is_refused(url: str) -> None:
    """Each with a reason that does not quote it, since it may hold a password."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        Origin.of(url)
    assert not url or url not in str(caught.value)
