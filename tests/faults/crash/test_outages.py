"""What hosts live through besides a kill: a process that sleeps, servers that restart, a full disk, a set clock."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from genie_connect.engine.nats import ANSWER_S
from tests.faults.crash import stepped_clock, two_hosts
from tests.faults.crash.conftest import Report
from tests.faults.crash.grounds import GROUNDS, Field, Ground, why_not
from tests.faults.crash.hosts import SENDERS, SUPPRESSED
from tests.faults.crash.nursery import Life, nursery
from tests.faults.crash.receiving import receiver
from tests.faults.crash.run import BROADCAST, Run, Shape
from tests.faults.crash.storm import Frost, freeze
from tests.servers import nats, postgresql

LEASE_S = 2.0


def ground(field: Field, database: str, engine: str) -> Ground:
    """A ground, or the test is skipped."""
    if reason := why_not(database, engine):
        pytest.skip(reason)
    return field.ground(database, engine)


@pytest.mark.timeout(2400)
@pytest.mark.parametrize(
    "database, engine", [("sqlite", "embedded"), ("postgresql", "pgqueuer"), ("postgresql", "nats")]
)
def test_workers_that_freeze_and_wake_repeat_nobody(field: Field, report: Report, database: str, engine: str) -> None:
    """Eight workers, 50,000 recipients: whoever sleeps past the lease finds the work in other hands, and lets it be."""
    run = Run(ground(field, database, engine), Shape(chunk=500, micro_batch=50, lease_s=LEASE_S))
    run.upgrade()
    run.load(50_000)
    with run.workers(8) as workers:
        blows = freeze(run, Frost(lease_s=LEASE_S, pause_s=0.5, seed=8), workers)
        assert blows > 10
        run.ended_as_promised(report, "frozen, 8 workers", bound=blows * run.shape.micro_batch)


@contextlib.contextmanager
def under_load(run: Run, total: int) -> Iterator[list[Life]]:
    """A broadcast under way, with two workers and a host that sends durably meanwhile."""
    run.upgrade()
    run.load(total)
    with run.workers(2) as lives:
        sender = run.sender()
        yield lives
        sender.kill()
        run.heard(sender)
        assert all(life.alive for life in lives), [life.errors() for life in lives]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("engine", ["embedded", "pgqueuer", "nats"])
def test_postgresql_that_restarts_costs_nobody_a_copy(field: Field, report: Report, engine: str) -> None:
    """In order and as in a crash, for a moment and for longer than a lease: all is written in the end."""
    run = Run(ground(field, "postgresql", engine), Shape(lease_s=LEASE_S))
    restarts = [
        (signal.SIGINT, 0.2),
        (signal.SIGQUIT, 0.2),
        (signal.SIGINT, 2 * LEASE_S),
        (signal.SIGQUIT, 2 * LEASE_S),
    ]
    with under_load(run, 8_000):
        for number, away_s in restarts:
            time.sleep(1.5)
            field.postgresql.stop(number)
            time.sleep(away_s)
            field.postgresql.start()
        # Both workers may be taken for dead, and a crash may take the last answers along that were not synced.
        bound = len(restarts) * 2 * 2 * run.shape.micro_batch
        run.settle()
    with run.workers(1):
        run.ended_as_promised(report, "PostgreSQL restarted 4 times", bound=bound)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_nats_that_restarts_costs_nobody_a_copy(field: Field, report: Report, database: str) -> None:
    """In order and killed: what it forgets is offered again, what it repeats is refused by the ledger."""
    run = Run(ground(field, database, "nats"), Shape(lease_s=LEASE_S))
    with under_load(run, 8_000):
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
            time.sleep(1.5)
            field.nats.stop(number)
            time.sleep(1.0)
            field.nats.start()
        run.settle()
    with run.workers(1):
        run.ended_as_promised(report, "NATS restarted 4 times", bound=SENDERS)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_nats_that_freezes_costs_nobody_a_copy(field: Field, report: Report, database: str) -> None:
    """For a moment, for longer than a lease, and for longer than anybody waits for its answer."""
    run = Run(ground(field, database, "nats"), Shape(lease_s=LEASE_S))
    with under_load(run, 8_000):
        for frozen_s in (0.5, 2 * LEASE_S, ANSWER_S + 2.0):
            time.sleep(1.5)
            field.nats.freeze()
            try:
                time.sleep(frozen_s)
            finally:
                field.nats.go_on()
        run.settle()
    with run.workers(1):
        run.ended_as_promised(report, "NATS frozen 3 times", bound=SENDERS)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that is soon full."""
    if os.geteuid() != 0:
        pytest.skip("a small disk needs root, to mount one")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", tmp_path], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk: {mounted.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


@pytest.mark.timeout(1800)
def test_full_disk_loses_nothing_that_was_acknowledged(field: Field, report: Report, small_disk: Path) -> None:
    """While it is full nothing is acknowledged and nobody is sent to; once there is room, all goes on by itself."""
    here = attrs.evolve(ground(field, "sqlite", "embedded"), store_url=f"sqlite:///{small_disk / 'store.db'}")
    run = Run(here, Shape(lease_s=LEASE_S))
    fulls = 3
    with under_load(run, 6_000):
        for _ in range(fulls):
            time.sleep(1.0)
            filler = small_disk / "filler"
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(1 << 16))
            time.sleep(1.5)
            full = run.ground.receiver.count()
            time.sleep(1.0)
            # What had been written down before may still leave; nothing more.
            assert run.ground.receiver.count() - full <= 2 * run.shape.micro_batch
            filler.unlink()
        run.settle()
    with run.workers(1):
        run.ended_as_promised(report, "disk full 3 times", bound=fulls * 2 * run.shape.micro_batch)


def everybody_of_the_broadcast(run: Run) -> None:
    """Wait until everybody has a copy who is to have one."""
    wanted = run.total - SUPPRESSED
    deadline = time.monotonic() + 240.0
    while sum(name.startswith(BROADCAST) for name in run.ground.receiver.taken().by_recipient) < wanted:
        assert time.monotonic() < deadline, "the work does not go on"
        time.sleep(0.2)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("database, engine", GROUNDS)
def test_clock_that_is_set_costs_nobody_a_copy(
    field: Field, report: Report, tmp_path: Path, database: str, engine: str
) -> None:
    """An hour forth, a day back: nobody is taken for dead, nobody sent to twice, and the work goes on.

    What was accepted while it was a day ahead is due on that day.
    """
    if reason := stepped_clock.why_not():
        pytest.skip(reason)
    clock = stepped_clock.SteppedClock(tmp_path)
    with nursery(environment=clock.environment) as born:
        run = Run(attrs.evolve(ground(field, database, engine), nursery=born), Shape(lease_s=LEASE_S))
        with under_load(run, 5_000):
            for step_s in (3_600.0, -60.0, 86_400.0, 0.0):
                time.sleep(1.5)
                clock.step(step_s)
            everybody_of_the_broadcast(run)
            clock.step(86_460.0)
            seen = run.settle()
        in_doubt = {name for name, state in seen["states"].items() if state == "unknown"}
        assert {name for name in in_doubt if name.startswith(BROADCAST)} == set()
        with run.workers(1):
            # The sender is killed with that many on their way, which no clock has to do with.
            run.ended_as_promised(report, "clock set 4 times", bound=SENDERS)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("engine", ["embedded", "pgqueuer"])
def test_host_that_is_cut_off_from_the_database_sends_nobody_a_second_copy(
    field: Field, report: Report, engine: str
) -> None:
    """It can still reach the mail server, and must not: after the lease another host has its work."""
    reason = two_hosts.why_not() or postgresql.why_not()
    if reason:
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        hosts = stack.enter_context(two_hosts.two_hosts())
        socket = field.postgresql.folder / ".s.PGSQL.5432"
        stack.enter_context(hosts.database_on_network(socket))
        mail = stack.enter_context(receiver("0.0.0.0", prefix=hosts.prefix("mail")))
        here = attrs.evolve(
            field.ground("postgresql", engine),
            receiver=attrs.evolve(mail, host=two_hosts.MAIL_FROM_HERE),
            nursery=stack.enter_context(nursery(prefix=hosts.prefix("here"))),
        )
        there = attrs.evolve(
            here,
            store_url=here.store_url.partition("@")[0] + f"@{two_hosts.DATABASE_ADDRESS}:{two_hosts.DATABASE_PORT}"
            f"/{postgresql.Postgresql.name_of(here.store_url)}",
            receiver=attrs.evolve(mail, host=two_hosts.MAIL_FROM_THERE),
            nursery=stack.enter_context(nursery(prefix=hosts.prefix("there"))),
        )
        # Slow answers, so that each cut falls into a hand-over.
        mail.behave(answer_after_s=0.005)
        run, far = Run(here, Shape(lease_s=LEASE_S)), Run(there, Shape(lease_s=LEASE_S))
        run.upgrade()
        run.load(6_000)
        with run.workers(1), far.workers(1):
            for _ in range(3):
                time.sleep(1.5)
                hosts.cut()
                time.sleep(3 * LEASE_S)
                hosts.mend()
            run.ended_as_promised(report, "network cut 3 times", bound=3 * run.shape.micro_batch)


def test_servers_for_the_outages_are_there_in_ci() -> None:
    """A skip is for a machine that lacks something; CI has everything."""
    if os.environ.get("CI") != "true":
        pytest.skip("only in CI")
    assert (postgresql.why_not(), nats.why_not(), stepped_clock.why_not()) == (None, None, None)
