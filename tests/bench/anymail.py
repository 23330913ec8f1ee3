"""django-anymail, the peer of the suites ``api`` and ``webhooks``, installed into a folder that git ignores.

With it comes orjson, the quickest decoder of JSON there is for Python.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.bench.smtp.sinks import CannotRun
from tests.integration.servers import servers_folder

WANTED = ("django-anymail[resend,sendgrid]>=15,<16", "orjson>=3.13,<4")
ROOT = Path(__file__).parents[2]
_INSTALL_TIMEOUT_S = 300

Work = Callable[[], object]


def load() -> None:
    """Make ``anymail``, ``django`` and ``orjson`` importable in this process. Raises ``CannotRun``."""
    folder = servers_folder() / "anymail"
    if not (folder / "anymail").exists():
        _install(folder)
    # At the end: what both of us need is ours, and so the same.
    sys.path.append(str(folder))
    django_settings = importlib.import_module("django.conf").settings
    if not django_settings.configured:
        django_settings.configure(ALLOWED_HOSTS=["*"], DEFAULT_CHARSET="utf-8", USE_TZ=True)


def _install(folder: Path) -> None:
    uv = [str(ROOT / ".uv" / "bin" / "uv"), "pip", "install", "--quiet", "--python", sys.executable]
    constraints = ["--constraint", str(ROOT / ".ci" / "constraints.txt")]
    try:
        subprocess.run(
            [*uv, "--target", str(folder), *constraints, *WANTED],
            check=True,
            timeout=_INSTALL_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
    except (subprocess.SubprocessError, OSError):
        raise CannotRun("uv could not install django-anymail") from None


def orjson_loads(body: bytes) -> Work:
    """Decoding a body alone."""
    loads = importlib.import_module("orjson").loads
    return lambda: loads(body)


def webhook(provider: str, options: Mapping[str, Any], headers: Mapping[str, str], body: bytes) -> Mapping[str, Work]:
    """What its view does with a webhook: verifying and reading alone, and all that Django calls for one request.

    ``options`` stand under ``ANYMAIL`` in Django's settings. Django makes a view for each request, and so is one made
    here. Raises ``AssertionError`` where it reads no event.
    """
    module = importlib.import_module(f"anymail.webhooks.{provider.lower()}")
    view_class = getattr(module, f"{provider}TrackingWebhookView")
    factory = importlib.import_module("django.test").RequestFactory()
    _silence()
    fields = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    request = factory.post("/hook", data=body, content_type="application/json", **fields)
    importlib.import_module("django.conf").settings.ANYMAIL = dict(options)
    whole = view_class.as_view()

    def parsed() -> Any:
        view = view_class()
        view.setup(request)
        view.run_validators(request)
        return view.parse_events(request)

    assert parsed()
    assert whole(request).status_code == 200
    return {"verify and read": parsed, "its view": lambda: whole(request)}


def request_of(provider: str, options: Mapping[str, Any], message: Mapping[str, Any], *, prepare: bool = False) -> Work:
    """What its backend does for one message up to the bytes of the request.

    ``prepare`` where the body is a form, which only the HTTP library underneath makes bytes of.
    """
    _silence()
    module = importlib.import_module(f"anymail.backends.{provider.lower()}")
    backend = module.EmailBackend(**options)
    made = importlib.import_module("django.core.mail").EmailMultiAlternatives(
        subject=message["subject"], body=message["text"], from_email=message["from_email"], to=message["to"]
    )
    made.attach_alternative(message["html"], "text/html")
    made.tags = message["tags"]
    made.extra_headers.update(message["headers"])
    requests = importlib.import_module("requests")

    def build() -> object:
        payload = backend.build_message_payload(made, backend.send_defaults)
        parameters = payload.get_request_params(backend.api_url)
        if not prepare:
            return parameters["data"]
        parameters.pop("timeout", None)
        return requests.Request(**parameters).prepare()

    assert build()
    return build


def _silence() -> None:
    # It warns that nobody is left who looks after its SendGrid part, once for each request.
    category = importlib.import_module("anymail.exceptions").AnymailWarning
    warnings.simplefilter("ignore", category)
