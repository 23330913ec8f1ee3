"""``python -m tests.faults.guided PROVIDER [LIBFUZZER OPTIONS]``: atheris looks for a webhook that breaks a parser."""

from __future__ import annotations

import json
import sys

import atheris

with atheris.instrument_imports(include=["genie_connect", "genie_connect_contrib"]):
    from genie_connect.errors import WebhookNeeds, WebhookRejected
    from tests.contrib.providers.events.test_events import HOOKS
    from tests.faults.malformed import parser_of, posted


def main() -> None:
    """Fuzz until the options say that it is enough."""
    provider = sys.argv.pop(1)
    hook = next(hook for hook in HOOKS if hook.id == provider)
    parse = parser_of(hook)
    wrapped = hook.wrapped or (lambda items: hook.single(items[0]))
    samples = [json.dumps(wrapped([item])).encode() for item, _ in hook.samples]

    def one(data: bytes) -> None:
        # The first byte chooses a good body, of which the second is where what is found takes the place of the rest.
        body = data[2:]
        if len(data) > 2 and data[0] < 200:
            sample = samples[data[0] % len(samples)]
            at = data[1] * len(sample) // 256
            body = sample[:at] + body + sample[at + len(body) :]
        try:
            parse(posted(hook, body))
        except (WebhookRejected, WebhookNeeds):
            return

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
