"""Keys: what is taken, what is refused, and what must be published."""

from __future__ import annotations

import base64
import pickle

import pytest

from genie_connect.errors import ValidationError
from genie_connect.mime.dkim_key import DkimKey
from tests.mime.dkim_keys import SEED, ed25519_key, ed25519_pem, rsa_key, short_rsa_pem, unusable_keys


def _load(private_key: str, *, domain: str = "example.com", selector: str = "mail") -> DkimKey:
    return DkimKey.load(domain=domain, selector=selector, private_key=private_key)


def test_record_of_an_ed25519_key_is_that_of_the_standard() -> None:
    """RFC 8463 appendix A.2 gives key and record."""
    key = ed25519_key(domain="football.example.com", selector="brisbane")
    assert key.record_name == "brisbane._domainkey.football.example.com"
    assert key.record_value == "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


def test_rsa_key_says_its_record() -> None:
    """The public key as SubjectPublicKeyInfo, in one line of base64."""
    key = rsa_key()
    assert key.record_name == "rsa._domainkey.example.com"
    kind, published = key.record_value.split(" p=")
    assert kind == "v=DKIM1; k=rsa;"
    assert len(base64.b64decode(published, validate=True)) == 294


@pytest.mark.parametrize(
    "text",
    [
        SEED,
        f"  {SEED}\n",
        f"{SEED[:20]}\n{SEED[20:]}\n",
        ed25519_pem(),
        ed25519_pem().replace("\n", "\\n"),
        ed25519_pem().replace("\n", "\r\n"),
        f"\n\n{ed25519_pem()}\n",
    ],
    ids=["seed", "blanks", "two lines", "PEM", "PEM from a variable", "PEM from Windows", "PEM in blank lines"],
)
def test_the_same_key_in_all_its_forms(text: str) -> None:
    """Whatever an editor or a shell made of it."""
    assert _load(text).record_value == ed25519_key().record_value


@pytest.mark.parametrize("name", sorted(unusable_keys()))
def test_what_is_no_key_is_refused_with_a_reason_and_without_its_text(name: str) -> None:
    """The error names the argument, says what to do, and holds nothing of what was given."""
    text = unusable_keys()[name]
    with pytest.raises(ValidationError) as caught:
        _load(text)
    (problem,) = caught.value.problems
    assert problem.path == "private_key"
    assert problem.message
    assert problem.fix
    shown = str(caught.value) + repr(caught.value)
    assert "canary" not in shown
    assert not any(line in shown for line in text.split() if len(line) > 40)


def test_each_mistake_is_named() -> None:
    """A passphrase, a public key and a certificate want different things done."""
    reasons = {}
    for name, text in unusable_keys().items():
        with pytest.raises(ValidationError) as caught:
            _load(text)
        reasons[name] = caught.value.problems[0].message
    assert "passphrase" in reasons["a passphrase"]
    assert "passphrase" in reasons["an old passphrase"]
    assert "OpenSSH" in reasons["OpenSSH"]
    assert "public" in reasons["public"]
    assert "DNS record" in reasons["record"]
    assert "certificate" in reasons["certificate"]
    assert "damaged" in reasons["cut off"]
    assert "neither RSA nor Ed25519" in reasons["elliptic"]
    assert "32 bytes" in reasons["too short a seed"]


def test_rsa_key_that_no_receiver_takes_is_refused() -> None:
    """RFC 8301 section 3.2."""
    with pytest.raises(ValidationError, match="RSA key of 648 bits; receivers take none below 1024"):
        _load(short_rsa_pem())


def test_short_and_long_rsa_keys_are_advised_against() -> None:
    """They work, but not everywhere."""
    assert "1024 bits" in rsa_key(1024).advice
    assert rsa_key().advice == ""
    assert ed25519_key().advice == ""


@pytest.mark.parametrize("selector", ["", " ", "a b", "a;b", "a.", ".a", "-a", "a\r\nb", "ü", "a" * 64])
def test_selector_that_is_no_name_is_refused(selector: str) -> None:
    """It goes into the field and into a name in the DNS."""
    with pytest.raises(ValidationError) as caught:
        _load(SEED, selector=selector)
    assert caught.value.problems[0].path == "selector"


def test_selector_and_domain_must_fit_into_a_name() -> None:
    """RFC 1035 section 2.3.4."""
    with pytest.raises(ValidationError, match="too long"):
        _load(SEED, selector=".".join(["a" * 60] * 4))


@pytest.mark.parametrize("domain", ["", "a b", "[192.0.2.1]", "example.com;", "192.0.2.1", "a\r\nb", "x" * 260])
def test_domain_that_is_none_is_refused(domain: str) -> None:
    """With the argument named."""
    with pytest.raises(ValidationError) as caught:
        _load(SEED, domain=domain)
    assert caught.value.problems[0].path == "domain"


def test_domain_is_written_as_the_dns_knows_it() -> None:
    """RFC 8616 section 4: in ASCII, as it stands in d=."""
    assert _load(SEED, domain="Bücher.Example").domain == "xn--bcher-kva.example"
    assert _load(SEED, selector="a.B_2-c").record_name == "a.B_2-c._domainkey.example.com"


def test_key_covers_its_domain_and_what_is_below() -> None:
    """By labels, not by letters."""
    key = ed25519_key()
    assert key.covers("example.com")
    assert key.covers("Mail.Example.com")
    assert not key.covers("notexample.com")
    assert not key.covers("com")


@pytest.mark.parametrize("key", [rsa_key(), ed25519_key()], ids=["rsa", "ed25519"])
def test_a_key_is_neither_shown_nor_pickled(key: DkimKey) -> None:
    """Nothing that logs or caches values gets at it."""
    shown = repr(key)
    assert key.domain in shown
    assert SEED not in shown
    assert "PRIVATE" not in shown
    assert "function" not in shown
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        pickle.dumps(key)
