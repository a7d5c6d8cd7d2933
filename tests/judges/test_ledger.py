"""The ledger: whole lines, one writer, nothing twice, whatever tears it."""

import json
import os
import subprocess
import sys

import pytest

from pixelsmile.errors import UserError
from pixelsmile.judges import ledger as ledger_module
from pixelsmile.judges.base import Usage
from pixelsmile.judges.ledger import (
    Ledger,
    attempts_path,
    read_answers,
    read_attempts,
)


def row(key, **more):
    return {
        "key": key,
        "id": key,
        "repeat": 0,
        "image": "i",
        "judge": "j",
        "settings": {},
        "prompt": "p",
        "status": "invalid",
        "reason": "",
        "scores": None,
        "raw": "\ud800 \u2028 ä\n",
        "usage": None,
        **more,
    }


@pytest.fixture
def path(tmp_path):
    with Ledger(tmp_path / "runs" / "judge.jsonl") as ledger:
        ledger.add([row("a"), row("b")])
        attempt = ledger.begin("a", "j")
        ledger.end(attempt, "ok", raw="x", reason="", usage=Usage(3, 1, 2))
        ledger.begin("b", "j")
    return tmp_path / "runs" / "judge.jsonl"


def test_what_was_written_is_read_whatever_characters_it_has(path):
    assert read_answers(path) == {"a": row("a"), "b": row("b")}
    with Ledger(path) as ledger:
        assert ledger.answers == read_answers(path)
        assert [item.outcome for group in ledger.attempts.values() for item in group] == [
            "ok",
            None,
        ]
        assert ledger.attempts["a"][0].usage == Usage(3, 1, 2)
        assert ledger.begin("b", "j").name == "b-1"


def test_a_torn_last_line_is_cut_off_wherever_it_is_torn(path):
    data = path.read_bytes()
    first = data.index(b"\n") + 1
    for length in [*range(first, len(data), 7), len(data) - 1]:
        path.write_bytes(data[:length])
        whole = length == len(data) - 1  # only the line break is missing
        if not whole:
            assert list(read_answers(path)) == ["a"]
        with Ledger(path) as ledger:
            assert list(ledger.answers) == (["a", "b"] if whole else ["a"])
            ledger.add([row("c")])
        assert list(read_answers(path)) == (["a", "b", "c"] if whole else ["a", "c"])


def test_a_torn_end_of_an_attempt_leaves_it_open_and_its_cost_unknown(path):
    file = attempts_path(path)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:1]) + lines[1][:-5])
    with Ledger(path) as ledger:
        (attempt,) = ledger.attempts["a"]
        assert attempt.lost
        assert attempt.usage is None
    assert file.read_bytes() == lines[0]


@pytest.mark.parametrize("damage", [b"\x00\x00\x00", b"[1, 2]", b'{"key": "a"', b""])
def test_a_damaged_line_in_the_middle_is_named(path, damage):
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], damage, lines[1], b""]))
    for read in (Ledger, read_answers):
        with pytest.raises(UserError, match=r"judge\.jsonl, line 2 is damaged: delete that line"):
            read(path)


def test_an_answer_that_is_there_twice_is_named(path):
    path.write_bytes(path.read_bytes() * 2)
    for read in (Ledger, read_answers):
        with pytest.raises(UserError, match="line 3 answers 'a' a second time"):
            read(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [(row("z", status="fine"), "has status 'fine'"), ({"key": "z"}, "lacks 'id'")],
)
def test_a_line_that_is_no_answer_is_named(path, line, message):
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
    with pytest.raises(UserError, match=f"line 3 {message}"):
        read_answers(path)


def test_an_answer_is_never_written_a_second_time(path):
    before = path.read_bytes()
    with Ledger(path) as ledger, pytest.raises(AssertionError, match="given before"):
        ledger.add([row("c"), row("a")])
    assert path.read_bytes() == before


def test_a_number_that_json_does_not_know_is_not_written(path):
    before = path.read_bytes()
    with Ledger(path) as ledger, pytest.raises(ValueError, match="JSON"):
        ledger.add([row("c", scores={"happy": float("nan")})])
    assert path.read_bytes() == before


def test_one_writer_at_a_time_also_among_processes_until_the_other_dies(path):
    with Ledger(path):
        with pytest.raises(UserError, match=r"Another process is writing .*wait for it"):
            Ledger(path)
        assert list(read_answers(path)) == ["a", "b"]  # readers need no lock
    hold = "import fcntl, sys; file = open(sys.argv[1], 'ab'); fcntl.flock(file, fcntl.LOCK_EX);"
    hold += "print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-S", "-c", hold, str(attempts_path(path))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(UserError, match=r"Another process is writing .*attempts"):
            Ledger(path)
        other.kill()
    Ledger(path).close()


def test_a_full_disk_leaves_no_half_line(path, monkeypatch):
    before = path.read_bytes()
    with Ledger(path) as ledger:

        class Full:
            """Writes ten bytes, then nothing."""

            def __init__(self, file):
                self.file, self.left = file, 10

            def write(self, data):
                if not self.left:
                    raise OSError(28, "No space left on device")
                self.left = 0
                return self.file.write(data[:10])

            def __getattr__(self, name):
                return getattr(self.file, name)

        ledger._answers._file = Full(ledger._answers._file)
        with pytest.raises(OSError, match="No space left") as error:
            ledger.add([row("c")])
        assert error.value.filename == str(path)
    assert path.read_bytes() == before


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="is a folder: name a file"):
        Ledger(tmp_path)
    with pytest.raises(UserError, match=r"No answers of a judge in .*none\.jsonl"):
        read_answers(tmp_path / "none.jsonl")
    assert read_attempts(tmp_path / "none.jsonl") == {}


def test_lines_are_on_disk_before_the_next_step(path, monkeypatch):
    synced = []
    monkeypatch.setattr(ledger_module.os, "fsync", lambda fd: synced.append(os.fstat(fd).st_size))
    with Ledger(path) as ledger:
        ledger.add([row("c")])
        assert synced == [path.stat().st_size]
        attempt = ledger.begin("c", "j")
        ledger.end(attempt, "ok", raw="", reason="", usage=None)
        assert len(synced) == 3
