"""``broadcast`` and ``broadcasts``, run within the test; ``test_broadcast_processes`` has whole processes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from email import message_from_bytes, policy
from typing import Any

import pytest

from genie_connect.cli.exit_codes import ExitCode
from tests.cli.conftest import Cli

LETTER = {"subject": "News for {{ name | you }}", "text": "Dear {{ name | reader }}, there is news."}
LIST = "email,name\nada@example.com,Ada\nben@example.com,\nnobody,Cy\nADA@example.com,Ada\n"
SEND = ("broadcast", "letter.json", "--recipients", "list.csv")


@pytest.fixture
def listed(stored: Cli) -> Cli:
    """A store, a letter, and a list with a broken row and one that comes twice."""
    (stored.folder / "letter.json").write_text(json.dumps(LETTER))
    (stored.folder / "list.csv").write_text(LIST)
    return stored


def copies(cli: Cli) -> dict[str, str]:
    """The subject that each recipient got; fails where somebody got two."""
    got: dict[str, str] = {}
    for kept in cli.kept:
        parsed = message_from_bytes(kept["eml"], policy=policy.SMTP)
        (to,) = parsed["To"].addresses
        assert to.addr_spec not in got
        got[to.addr_spec] = parsed["Subject"]
    return got


def write_list(cli: Cli, rows: Iterable[str]) -> None:
    """Another list."""
    (cli.folder / "list.csv").write_text("\n".join(["email", *rows, ""]))


def states(cli: Cli) -> list[tuple[str, int, int]]:
    """State, recipients and those done of every broadcast, latest first."""
    found = cli.json("broadcasts", "list")["broadcasts"]
    return [(each["state"], each["total"], each["total"] - each["remaining"]) for each in found]


class TestSending:
    """What the command does, and what it says."""

    def test_sends_everybody_their_own_and_tells_what_it_left_out(self, listed: Cli) -> None:
        """Not on a terminal it writes plain lines; broken rows are beside the list, and end with 3."""
        sent = listed(*SEND)
        assert sent.exit_code == ExitCode.NOT_ACCEPTED, sent.stderr
        assert copies(listed) == {"ada@example.com": "News for Ada", "ben@example.com": "News for you"}
        assert "\x1b" not in sent.stdout
        *progress, ended, twice, broken = sent.stdout.splitlines()
        assert progress[-1].endswith("is done: 2 of 2 done (100 %): 2 accepted")
        assert ended.startswith("broadcast 1 is done: 2 accepted; in ")
        assert twice == "1 row was left out, for mailboxes that came before"
        assert broken == "1 row was broken, and not sent to; they are in list.csv.rejected.jsonl"
        (row,) = (listed.folder / "list.csv.rejected.jsonl").read_text().splitlines()
        assert (json.loads(row)["row"], json.loads(row)["given"]["email"]) == (4, "nobody")

    def test_prints_one_document_with_json(self, listed: Cli) -> None:
        """All of standard output is JSON; what goes on meanwhile is on standard error."""
        write_list(listed, ["ada@example.com", "bounce@example.com"])
        result = listed(*SEND, "--name", "autumn", "--json")
        data = json.loads(result.stdout)
        assert (data["name"], data["state"], data["accepted"], data["rejected"]) == ("autumn", "done", 1, 1)
        assert (data["exit_code"], result.exit_code) == (ExitCode.NOT_ACCEPTED, ExitCode.NOT_ACCEPTED)
        assert data["connections"][0] | {"hand_overs": 1} == {
            "connection": "primary",
            "hand_overs": 1,
            "tried": 2,
            "accepted": 1,
            "rejected": 1,
            "deferred": 0,
            "unknown": 0,
        }
        assert "broadcast 1 'autumn' is done" in result.stderr

    @pytest.mark.parametrize(
        ("who", "code"),
        [("ada", ExitCode.OK), ("later", ExitCode.NOT_ACCEPTED), ("lost", ExitCode.UNKNOWN)],
    )
    def test_ends_with_what_became_of_it(self, listed: Cli, who: str, code: ExitCode) -> None:
        """Accepted, put off for good, or not known: as with a send."""
        write_list(listed, [f"{who}@example.com"])
        assert listed(*SEND).exit_code == code

    def test_says_that_everybody_is_suppressed(self, listed: Cli) -> None:
        """Nobody was to be sent to, which is no success."""
        write_list(listed, ["ada@example.com"])
        listed("suppressions", "add", "ada@example.com")
        assert listed(*SEND).exit_code == ExitCode.SUPPRESSED
        assert listed.kept == []

    def test_strict_sends_nothing(self, listed: Cli) -> None:
        """The broken row is told with its field and the fix, and there is no reject file."""
        refused = listed(*SEND, "--strict")
        assert refused.exit_code == ExitCode.ERROR
        assert "cause: row 4.email: 'nobody' is not an email address" in refused.stderr
        assert "hint:  row 4.email: write it as name@example.com" in refused.stderr
        assert listed.kept == []
        assert list(listed.folder.glob("*.rejected*")) == []

    def test_writes_broken_rows_where_it_is_told(self, listed: Cli) -> None:
        """A file that is there already is never written over: it may not have been looked at."""
        assert listed.json(*SEND, "--rejects", "bad.jsonl")["rejects"] == "bad.jsonl"
        before = (listed.folder / "bad.jsonl").read_bytes()
        for more in ((), ("--dry-run",)):
            refused = listed(*SEND, "--rejects", "bad.jsonl", *more)
            assert refused.exit_code == ExitCode.ERROR
            assert "error: the reject file bad.jsonl is there already" in refused.stderr
        assert (listed.folder / "bad.jsonl").read_bytes() == before

    def test_says_when_it_cannot_end_in_time(self, listed: Cli) -> None:
        """The rate of the connection bounds it."""
        text = (listed.folder / "genie-connect.toml").read_text()
        listed.configure(text.replace("priority = 1\n", "priority = 1\nrate_per_s = 0.01\n"))
        result = listed(*SEND, "--no-start", "--finish-by", "+1m")
        assert "warning: 2 recipients at 0.01 a second through primary end at " in result.stderr
        assert " UTC that was asked for" in result.stderr


class TestDryRun:
    """``--dry-run``."""

    def test_says_what_would_be_sent_and_keeps_nothing(self, listed: Cli) -> None:
        """Plan, counts, and each problem; no copy, no broadcast, no reject file."""
        listed("suppressions", "add", "ben@example.com")
        shown = listed(*SEND, "--dry-run")
        assert shown.exit_code == ExitCode.NOT_ACCEPTED
        assert shown.stdout.splitlines() == [
            *listed("plan", "--broadcast", "--message", "letter.json").stdout.splitlines(),
            "4 rows, 1 would be sent to, 1 suppressed, 1 came twice, 1 broken",
            "the first to ada@example.com: 'News for Ada'",
            "row 4.email: 'nobody' is not an email address: it has no @ (write it as name@example.com)",
        ]
        data = listed.json(*SEND, "--dry-run")
        assert {name: data[name] for name in ("rows", "recipients", "suppressed", "duplicates", "broken")} == {
            "rows": 4,
            "recipients": 2,
            "suppressed": 1,
            "duplicates": 1,
            "broken": 1,
        }
        assert listed.kept == []
        assert states(listed) == []
        assert list(listed.folder.glob("*rejected*")) == []

    def test_finds_whose_merge_data_is_missing(self, listed: Cli) -> None:
        """With --strict that would be the end of it."""
        write_list(listed, ["ada@example.com"])
        content = ("--subject", "Code", "--text", "It is {{ code }}.", "--recipients", "list.csv")
        shown = listed("broadcast", *content, "--dry-run", "--strict")
        assert shown.exit_code == ExitCode.ERROR
        assert "row 2: merge['code']: has no value and the field has no default" in shown.stdout


class TestSources:
    """Where the message and the list come from."""

    def test_a_message_from_a_file_goes_to_nobody_but_the_list(self, listed: Cli) -> None:
        """Whom an .eml file names is left out, and that is said."""
        (listed.folder / "letter.eml").write_text("To: old@example.com\nSubject: Old\n\nHello {{ name | you }}\n")
        result = listed("broadcast", "letter.eml", "--subject", "New", "--recipients", "list.csv")
        assert "note: to of the message is left out: a broadcast goes to its list, and nobody else" in result.stderr
        assert copies(listed) == {"ada@example.com": "New", "ben@example.com": "New"}

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("letter.txt", "--recipients", "list.csv"), "error: FILE: letter.txt is no message"),
            (("none.json", "--recipients", "list.csv"), "error: FILE: none.json cannot be read"),
            (("list.csv.json", "--recipients", "list.csv"), "error: FILE list.csv.json is not JSON"),
            (("letter.json", "--recipients", "none.csv"), "error: there is no file none.csv"),
            (("letter.json", "--recipients", "letter.json"), "error: letter.json: recipients are not read from such"),
            (("letter.json", "--recipients", "columns.csv"), "error: no column of the recipients file holds the addr"),
            (("letter.json", "--recipients", "list.csv", "--no-start", "--detach"), "cannot be used together"),
            (("letter.json", "--recipients", "list.csv", "--strict", "--rejects", "x"), "cannot be used together"),
            (("--text", "{{ x", "--subject", "x", "--recipients", "list.csv"), "text: line 1, column 1: '{{ x' is not"),
        ],
    )
    def test_says_what_cannot_be_used(self, listed: Cli, arguments: tuple[str, ...], said: str) -> None:
        """In one sentence that names it; nothing is sent or kept."""
        (listed.folder / "columns.csv").write_text("mailbox\nada@example.com\n")
        (listed.folder / "list.csv.json").write_text(LIST)
        result = listed("broadcast", *arguments)
        assert result.exit_code == ExitCode.ERROR
        assert said in result.stderr
        assert result.stdout == ""
        assert listed.kept == []

    def test_needs_a_store(self, cli: Cli) -> None:
        """And says so before it reads anything."""
        for arguments in (("broadcast", "no.json", "--recipients", "no.csv"), ("broadcasts", "list"), ("worker",)):
            result = cli(*arguments)
            assert result.exit_code == ExitCode.CONFIGURATION
            assert "add [store]" in result.stderr


class TestControl:
    """``broadcasts``: each command is a process of its own, as far as the store knows."""

    def test_goes_from_loaded_to_done_by_command(self, listed: Cli) -> None:
        """Loaded, started, paused, gone on with: each says how it stands and what comes next."""
        loaded = listed(*SEND, "--no-start")
        assert loaded.exit_code == ExitCode.NOT_ACCEPTED
        assert loaded.stdout.startswith("broadcast 1 is ready: nobody was sent to, 2 left\n")
        assert "hint: genie-connect broadcasts start 1 starts it\n" in loaded.stderr
        started = listed("broadcasts", "start", "1", "--detach")
        assert started.stdout.startswith("broadcast 1 is running: nobody was sent to, 2 left\n")
        assert "genie-connect worker works on it, and so does genie-connect broadcasts resume 1" in started.stderr
        assert "(look first)" in listed("broadcasts", "pause", "1", "--reason", "look first").stdout
        shown = listed("broadcasts", "show", "1")
        assert "why:         look first" in shown.stdout
        assert "hint: genie-connect broadcasts resume 1 goes on with it" in shown.stderr
        assert listed.kept == []
        resumed = listed("broadcasts", "resume", "1")
        assert resumed.exit_code == ExitCode.NOT_ACCEPTED
        assert set(copies(listed)) == {"ada@example.com", "ben@example.com"}
        assert states(listed) == [("done", 2, 2)]

    def test_takes_up_what_nobody_works_on(self, listed: Cli) -> None:
        """`resume` goes on with a running one, as after a kill; with --detach there would be nothing to do."""
        listed(*SEND, "--detach")
        refused = listed("broadcasts", "resume", "1", "--detach")
        assert refused.exit_code == ExitCode.STATE
        assert "cause: it is running" in refused.stderr
        listed("broadcasts", "resume", "1")
        assert states(listed) == [("done", 2, 2)]

    def test_stops_for_good(self, listed: Cli) -> None:
        """Nobody who is left is ever sent to, and each command that is too late says why."""
        listed(*SEND, "--detach")
        assert listed.json("broadcasts", "stop", "1")["state"] == "stopped"
        for command in ("start", "pause", "resume", "stop"):
            refused = listed("broadcasts", command, "1")
            assert refused.exit_code == ExitCode.STATE
            assert "cause: it is stopped" in refused.stderr
            assert "hint:  " in refused.stderr
        assert listed.kept == []

    def test_lists_who_was_refused(self, listed: Cli) -> None:
        """With the reason, in the order of the list; with JSON each on a line; on request the suppressed as well."""
        write_list(listed, ["bounce@example.com", "ada@example.com", "bounce@example.net", "ben@example.com"])
        listed("suppressions", "add", "ben@example.com")
        assert "hint: genie-connect broadcasts rejected 1 lists who was refused, and why" in listed(*SEND).stderr
        shown = listed("broadcasts", "rejected", "1")
        lines = shown.stdout.splitlines()
        assert [line.split("  ")[:2] for line in lines] == [
            ["bounce@example.com", "rejected"],
            ["bounce@example.net", "rejected"],
        ]
        assert "550" in lines[0]
        assert "2 of broadcast 1" in shown.stderr
        all_lines = listed("broadcasts", "rejected", "1", "--also", "suppressed", "--json").stdout.splitlines()
        assert [(each["recipient"], each["state"]) for each in map(json.loads, all_lines)] == [
            ("bounce@example.com", "rejected"),
            ("bounce@example.net", "rejected"),
            ("ben@example.com", "suppressed"),
        ]

    def test_says_why_a_list_was_not_loaded(self, listed: Cli) -> None:
        """To whoever finds the stopped broadcast later: the cause, and what to do."""
        (listed.folder / "list.csv").write_text("mailbox\nada@example.com\n")
        hint = listed(*SEND).stderr.rpartition("hint:")[2].strip().splitlines()[0]
        why = listed.json("broadcasts", "show", "1")["reason"]
        assert why.startswith("it was not loaded: no column of the recipients file holds the addr")
        assert hint in why

    def test_says_that_there_is_no_such_broadcast(self, listed: Cli) -> None:
        """A number that was never given ends with 9."""
        for command in ("show", "rejected", "start", "pause", "resume", "stop"):
            result = listed("broadcasts", command, "12")
            assert (result.exit_code, result.stderr.splitlines()[0]) == (9, "error: there is no broadcast 12")
        assert listed("unknown", "list", "--broadcast", "12").exit_code == ExitCode.STATE


class TestUnknown:
    """``unknown``."""

    @pytest.fixture
    def lost(self, listed: Cli) -> Cli:
        """A broadcast with two copies in doubt."""
        write_list(listed, ["ada@example.com", "lost@example.com", "lost@example.net"])
        assert "unknown list --broadcast 1" in listed(*SEND).stderr
        return listed

    def found(self, cli: Cli) -> list[dict[str, Any]]:
        """What is listed."""
        return list(cli.json("unknown", "list", "--broadcast", "1")["unknown"])

    def test_lists_and_resolves_each(self, lost: Cli) -> None:
        """By its two numbers, once; the counts of the broadcast follow."""
        first, second = self.found(lost)
        assert (first["recipient"], first["connection"]) == ("lost@example.com", "primary")
        assert first["message_id"] in lost("unknown", "list").stdout
        numbers = (str(first["unit"]), str(first["position"]))
        assert "counts as accepted" in lost("unknown", "resolve", *numbers, "accepted", "--note", "she wrote").stdout
        again = lost("unknown", "resolve", *numbers, "rejected")
        assert again.exit_code == ExitCode.STATE
        assert "cause: it is known to be accepted" in again.stderr
        assert self.found(lost) == [second]
        assert lost.json("broadcasts", "show", "1")["accepted"] == 2

    def test_resolves_all_of_a_broadcast(self, lost: Cli) -> None:
        """What a kill leaves may be hundreds, of which the same is known."""
        assert lost.json("unknown", "resolve-all", "rejected", "--broadcast", "1")["resolved"] == 2
        assert self.found(lost) == []
        assert lost.json("broadcasts", "show", "1")["rejected"] == 2
        assert "nothing is unknown" in lost("unknown", "list").stderr

    def test_asks_the_providers(self, lost: Cli) -> None:
        """One that has no look-up knows nothing, which proves nothing."""
        assert lost("unknown", "reconcile").stdout == "0 resolved; 2 unknown\n"
