"""A real RabbitMQ, unpacked by ``tests/integration/install-servers``, on free loopback ports with a folder of its own.

Its name server (epmd) is started here too: left to itself, Erlang starts one for the whole machine, which stays.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.integration.servers.base import servers_folder
from tests.servers.guarded import Guarded, answers, free_port

_PROTOCOL = b"AMQP\x00\x00\x09\x01"


def _tree() -> Path:
    return servers_folder() / "rabbitmq"


def why_not() -> str | None:
    """Why RabbitMQ cannot be started here, or None if it can."""
    if not (_tree() / ".installed").exists():
        return "rabbitmq is not installed: run tests/integration/install-servers rabbitmq"
    return None


class RabbitMq:
    """A node for as long as its ``with`` block runs. It keeps its ports and its folder when it is started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._names_port = free_port()
        self._dist_port = free_port()
        self._names = Guarded(folder / "epmd.log")
        self._node = Guarded(folder / "log")

    @property
    def url(self) -> str:
        """Its URL, as Celery takes it."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            undo.callback(self._names.stop, signal.SIGKILL)
            undo.callback(self.stop, signal.SIGKILL)
            [epmd] = (_tree() / "usr/lib/erlang").glob("erts-*/bin/epmd")
            self._names.start(
                [epmd, "-address", "127.0.0.1", "-port", str(self._names_port)],
                # Answers a request for all names with its own port.
                lambda: answers(self._names_port, self._names_port.to_bytes(4, "big"), hello=b"\x00\x01n"),
            )
            self.start()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(signal.SIGKILL)
        self._names.stop(signal.SIGKILL)

    def start(self) -> None:
        """Start the node, after ``stop``."""
        self._node.start(
            [_tree() / "usr/lib/rabbitmq/bin/rabbitmq-server"],
            lambda: answers(self.port, b"\x01", hello=_PROTOCOL),
            env=self._environment(),
        )

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop the node: by SIGTERM in order, by SIGKILL as in a crash."""
        self._node.stop(number)

    def _environment(self) -> Mapping[str, str]:
        erlang = _tree() / "usr/lib/erlang"
        plugins = self._folder / "enabled_plugins"
        plugins.write_text("[].\n")
        return {
            "PATH": f"{erlang}/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self._folder),
            "LC_ALL": "C.UTF-8",
            "ERL_ROOTDIR": str(erlang),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._names_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._folder / "advanced"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_LOGS": "-",
        }
