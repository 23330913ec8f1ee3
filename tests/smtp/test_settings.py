"""Settings that cannot work are refused, each with the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genie_connect.errors import SettingsError
from genie_connect.model.schema import json_schema
from genie_connect.model.settings import structure_settings
from genie_connect_smtp.settings import SmtpSettings
from tests.smtp.support import PASSWORD


def _settings(**fields: Any) -> SmtpSettings:
    return structure_settings(SmtpSettings, {"host": "smtp.example.com", **fields})


_SIGN_IN = {"username": "ada", "password": "secret"}


@pytest.mark.parametrize(
    ("fields", "path", "fix"),
    [
        ({"port": 465, "security": "starttls"}, "security", "use security = tls"),
        ({"port": 465, "security": "none"}, "security", "use security = tls"),
        ({"port": 587, "security": "tls"}, "security", "use security = starttls"),
        ({"port": 25, "security": "tls"}, "security", "use security = starttls"),
        ({"security": "none", **_SIGN_IN}, "security", "starttls or tls"),
        ({"username": "ada"}, "password", "give the password"),
        ({"password": "secret"}, "username", "give the user name"),
        ({"auth": "xoauth2"}, "auth", "username and password"),
        ({"security": "none", "ca_file": "x.pem"}, "ca_file", "starttls or tls"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file", "path and rights"),
        ({"host": "smtp://smtp.example.com"}, "host", "URL"),
        ({"host": "https://smtp.example.com/"}, "host", "URL"),
        ({"host": "smtp.example.com:587"}, "host", "port = 587"),
        ({"host": "ada@smtp.example.com"}, "host", "user name"),
        ({"host": "smtp.example.com mail"}, "host", "white space"),
        ({"host": "smtp_!.example.com"}, "host", "host name"),
        ({"host": "smtp.example.com\r\nX"}, "host", "control"),
        ({"port": 0}, "port", "from 1"),
        ({"port": "587"}, "port", "whole number"),
        ({"security": "ssl"}, "security", "tls, starttls, none"),
        ({"security": True}, "security", "tls, starttls, none"),
        ({"ehlo_name": "x\r\nMAIL FROM:<e>"}, "ehlo_name", "control"),
        ({"ehlo_name": "x XCLIENT ADDR=1.2.3.4"}, "ehlo_name", "domain name"),
        ({"ehlo_name": "x..y"}, "ehlo_name", "domain name"),
        ({"ehlo_name": "[1.2.3.4] X"}, "ehlo_name", "domain name"),
        ({"validate_certs": False}, "validate_certs", "not a setting"),
        ({"tls": True}, "tls", "not a setting"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_the_fix(fields: dict[str, Any], path: str, fix: str) -> None:
    """T29, T31 and the traps of ports and names: before anything is connected."""
    with pytest.raises(SettingsError) as caught:
        _settings(**fields)
    found = [problem for problem in caught.value.problems if problem.path == path]
    assert found, caught.value
    assert fix in str(found[0])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"security": "tls"},
        {"security": "tls", "port": 2465},
        {"port": 2525, "security": "none"},
        {"host": "127.0.0.1", "security": "none", **_SIGN_IN},
        {"host": "::1", "security": "none", **_SIGN_IN},
        {"host": "localhost", "security": "none", **_SIGN_IN},
        {"security": "none", "allow_password_without_tls": True, **_SIGN_IN},
        {"host": "mail.bücher.example"},
        {"host": "relay"},
        {"ehlo_name": "mail.example.com"},
        {"ehlo_name": "[192.0.2.1]"},
        {"ehlo_name": "[IPv6:2001:db8::1]"},
    ],
)
def test_what_can_work_is_taken(fields: dict[str, Any]) -> None:
    """Common and uncommon settings."""
    _settings(**fields)


@pytest.mark.parametrize(("security", "port"), [("tls", 465), ("starttls", 587), ("none", 25)])
def test_the_port_follows_the_security_mode(security: str, port: int) -> None:
    """Nobody has to know the numbers."""
    assert _settings(security=security).effective_port == port
    assert _settings(security=security, port=2525).effective_port == 2525


def test_a_ca_file_without_a_certificate_is_refused(tmp_path: Path) -> None:
    """Before a handshake fails for a reason nobody understands."""
    file = tmp_path / "ca.pem"
    file.write_text("-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(SettingsError, match="no PEM certificate"):
        _settings(ca_file=str(file))


def test_the_password_is_shown_nowhere() -> None:
    """Neither in the settings nor in an error about them."""
    settings = _settings(username="ada", password=PASSWORD)
    assert PASSWORD not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        _settings(password=PASSWORD)
    assert PASSWORD not in repr(caught.value)


def test_there_is_no_way_to_switch_verification_off() -> None:
    """T27: no setting, and no line of code."""
    assert not {name for name in json_schema(SmtpSettings)["properties"] if "verif" in name or "valid" in name}
    package = Path(__import__("genie_connect_smtp").__file__ or "").parent
    source = "".join(file.read_text() for file in package.glob("*.py"))
    assert not [
        word for word in ("CERT_NONE", "check_hostname", "_create_unverified", "validate_certs") if word in source
    ]
