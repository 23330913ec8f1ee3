"""The parts of ``worker`` and ``broadcast`` that need no store: health over HTTP, signals, figures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from typing import Any

import click
import pytest

from genie_connect.broadcast.handle import Progress
from genie_connect.cli import progress as shown
from genie_connect.cli.errors import Failed
from genie_connect.cli.exit_codes import ExitCode
from genie_connect.cli.health import HealthEndpoint, place
from genie_connect.cli.moments import lasting
from genie_connect.cli.stopping import Stopping
from genie_connect.cli.watching import WINDOW_S, Pace
from genie_connect.store.progress import ConnectionShare
from genie_connect.store.progress import Progress as Counts
from genie_connect.store.schema import BroadcastState


class TestHealth:
    """The endpoint."""

    @pytest.mark.parametrize(
        ("request_line", "well", "status", "body"),
        [
            (b"GET /health HTTP/1.1", True, b"200 OK", {"ok": True, "trouble": None}),
            (b"GET /health?x=1 HTTP/1.0", False, b"503 Service Unavailable", {"ok": False, "trouble": None}),
            (b"GET /live HTTP/1.1", False, b"200 OK", {"live": True}),
            (b"HEAD /health HTTP/1.1", False, b"503 Service Unavailable", None),
            (b"POST /health HTTP/1.1", True, b"405 Method Not Allowed", {"error": "use GET"}),
            (b"GET /secrets HTTP/1.1", True, b"404 Not Found", {"error": "there are /health and /live"}),
            (b"\x16\x03\x01", True, b"404 Not Found", {"error": "there are /health and /live"}),
        ],
    )
    async def test_answers_one_request_and_hangs_up(
        self, request_line: bytes, well: bool, status: bytes, body: Any
    ) -> None:
        """Whoever supervises it needs no more than the status; a person reads the rest."""
        async with HealthEndpoint("127.0.0.1", 0, lambda: (well, {"trouble": None})) as endpoint:
            answer = await ask(endpoint, request_line + b"\r\nHost: x\r\n\r\n")
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 " + status + b"\r\n")
        assert (json.loads(rest) if rest else None) == body

    async def test_does_not_listen_to_the_end_of_what_is_too_long(self) -> None:
        """It hangs up, and answers others as before."""
        async with HealthEndpoint("127.0.0.1", 0, lambda: (True, {})) as endpoint:
            assert await ask(endpoint, b"GET /health HTTP/1.1\r\nX: " + b"x" * 20_000) == b""
            assert (await ask(endpoint, b"GET /live HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")

    async def test_says_that_the_port_is_taken(self) -> None:
        """With another one to take."""
        async with HealthEndpoint("127.0.0.1", 0, lambda: (True, {})) as endpoint:
            port = int(endpoint.url.split(":")[2].partition("/")[0])
            with pytest.raises(Failed, match=rf"cannot listen on 127\.0\.0\.1 port {port}") as raised:
                async with HealthEndpoint("127.0.0.1", port, lambda: (True, {})):
                    pass
        assert raised.value.hint == "give another port, or 0 for a free one"

    @pytest.mark.parametrize(
        ("given", "found"),
        [
            ("8080", ("127.0.0.1", 8080)),
            (":8080", ("127.0.0.1", 8080)),
            ("0.0.0.0:80", ("0.0.0.0", 80)),
            ("[::1]:8080", ("::1", 8080)),
            ("mail.example.com:8080", ("mail.example.com", 8080)),
        ],
    )
    def test_listens_on_this_machine_alone_unless_told_otherwise(self, given: str, found: tuple[str, int]) -> None:
        """Health is nobody else's business by default."""
        assert place(given) == found

    @pytest.mark.parametrize("given", ["", "host", "host:", "::1", "1.2.3.4:99999", "a:b:80"])
    def test_refuses_what_is_no_place(self, given: str) -> None:
        """With how to write one."""
        with pytest.raises(click.BadParameter, match=r"write 127\.0\.0\.1:8080"):
            place(given)


class TestStopping:
    """Signals, within this process."""

    async def test_the_first_signal_is_a_wish(self) -> None:
        """It is told, and by which; afterwards signals do what they did before."""
        before = signal.getsignal(signal.SIGTERM)
        with Stopping(abandoned="") as stopping:
            assert not await stopping.within(0)
            signal.raise_signal(signal.SIGTERM)
            assert await stopping.within(30)
            assert (stopping.by, stopping.by_hand) == (signal.SIGTERM, False)
            with pytest.raises(click.Abort):
                await stopping.unless(asyncio.Event().wait())
        assert signal.getsignal(signal.SIGTERM) is before

    async def test_what_is_done_is_done(self) -> None:
        """Without a signal the result comes, and so does an error."""

        async def broken() -> None:
            raise EOFError

        with Stopping(abandoned="") as stopping:
            assert await stopping.unless(asyncio.sleep(0, "done")) == "done"
            with pytest.raises(EOFError):
                await stopping.unless(broken())

    async def test_deaf_stays_deaf(self) -> None:
        """What nohup does must not be undone."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with Stopping(abandoned=""):
                assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGHUP, before)


class TestFigures:
    """What is shown of a broadcast."""

    def test_the_rate_is_that_of_the_last_seconds(self) -> None:
        """It follows what changes, and does not jump with each micro-batch."""
        pace = Pace()
        rates = [pace.smoothed(progress(accepted=100 * min(second, 10)), second).rate_per_s for second in range(15)]
        assert rates[0] == 0
        assert rates[1:11] == [100.0] * 10
        assert rates[14] == 100 * (WINDOW_S - 4) / WINDOW_S
        assert pace.smoothed(progress(accepted=1000), 30.0).eta_s is None

    def test_says_what_is_waited_for(self) -> None:
        """The time of the next try, or that nobody is at work."""
        assert shown.pace(progress(next_due=160.0), 100.0) == "0/s, the next may go in 1 min"
        assert shown.pace(progress(next_due=10.0), 100.0) == "0/s, waiting for a worker"
        assert shown.pace(progress(next_due=10.0), 100.0, working=True) == "0/s"
        assert shown.pace(progress(state="paused"), 100.0) == ""

    @pytest.mark.parametrize(
        ("facts", "code"),
        [
            ({"accepted": 2000}, ExitCode.OK),
            ({"accepted": 1999, "suppressed": 1}, ExitCode.OK),
            ({"suppressed": 2000}, ExitCode.SUPPRESSED),
            ({"accepted": 1999, "rejected": 1}, ExitCode.NOT_ACCEPTED),
            ({"accepted": 1999, "deferred": 1}, ExitCode.NOT_ACCEPTED),
            ({"accepted": 1998, "rejected": 1, "unknown": 1}, ExitCode.UNKNOWN),
            ({"accepted": 2000, "refused_rows": 1}, ExitCode.NOT_ACCEPTED),
            ({"accepted": 5, "state": "paused"}, ExitCode.NOT_ACCEPTED),
            ({"accepted": 5, "state": "stopped"}, ExitCode.NOT_ACCEPTED),
        ],
    )
    def test_doubt_weighs_more_than_a_refusal(self, facts: dict[str, Any], code: ExitCode) -> None:
        """As with a send; rows that were broken count as refused."""
        assert shown.code_of(progress(**{"state": "done"} | facts)) is code

    def test_a_row_for_each_connection(self) -> None:
        """Below the one for all, which alone has those who were never tried."""
        share = ConnectionShare(
            connection="mail", hand_overs=3, tried=1500, accepted=1400, rejected=60, deferred=40, unknown=0
        )
        assert shown.rows(progress(accepted=1400, rejected=60, suppressed=3, connections=(share,))) == [
            ("total", "1,400", "0", "60", "0", "3", "537"),
            ("mail", "1,400", "40", "60", "0", "", ""),
        ]

    @pytest.mark.parametrize(
        ("seconds", "said"),
        [(-1, "0 s"), (59.7, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (90_000, "1 d 1 h"), (86_460, "1 d 1 min")],
    )
    def test_a_length_of_time_is_said_in_two_units(self, seconds: float, said: str) -> None:
        """The larger ones."""
        assert lasting(seconds) == said


async def ask(endpoint: HealthEndpoint, request: bytes) -> bytes:
    """All that comes back until the other side hangs up."""
    host, port = endpoint.url.removeprefix("http://").partition("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = b""
    # What was not read to the end is answered with a reset.
    with contextlib.suppress(ConnectionResetError):
        answer = await reader.read()
    writer.close()
    return answer


def progress(**facts: Any) -> Progress:
    """How far a broadcast to 2,000 might be."""
    about = {
        "state": "running",
        "id": 1,
        "name": "autumn",
        "duplicates": 0,
        "refused_rows": 0,
        "rate_per_s": 0.0,
        "eta_s": None,
        "reason": None,
        "connections": (),
    }
    counts = dict.fromkeys(("accepted", "rejected", "deferred", "unknown", "suppressed"), 0)
    rest = {"total": 2000, "chunks": 4, "chunks_done": 0, "chunks_in_progress": 0, "started": 0.0, "finished": None}
    given = rest | counts | {"next_due": None} | {name: each for name, each in facts.items() if name not in about}
    state = BroadcastState[str(facts.get("state", "running")).upper()]
    return Progress(
        **about | {name: each for name, each in facts.items() if name in about},
        counts=Counts(state=state, **given),
    )
