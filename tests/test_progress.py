"""Progress is a bar on a terminal and a few plain lines in a log."""

import io

from rich.console import Console

from pixelsmile import progress as module
from pixelsmile.progress import progress, track


def test_a_log_gets_plain_lines_with_count_rate_and_time_left(monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    console = Console(file=io.StringIO(), width=40)
    with progress("Drawing", 10, done=2, console=console) as advance:
        for _ in range(8):
            advance(1)
    lines = console.file.getvalue().splitlines()
    assert lines[0].startswith("Drawing: 4/10, 0.1/s, ")
    assert lines[0].endswith(" s left")
    assert lines[-1].startswith("Drawing: 10/10 in ")
    assert all("\x1b" not in line for line in lines)


def test_a_terminal_gets_a_bar_with_the_count():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with progress("Drawing", 3, console=console) as advance:
        advance(3)
    assert "3/3" in console.file.getvalue()


def test_a_failure_does_not_claim_to_be_finished():
    console = Console(file=io.StringIO(), width=80)
    try:
        with progress("Drawing", 3, console=console):
            raise RuntimeError
    except RuntimeError:
        pass
    assert console.file.getvalue() == ""


def test_track_yields_every_item_of_a_list_and_of_a_generator(capsys):
    assert list(track([1, 2, 3], "Counting")) == [1, 2, 3]
    assert list(track((number for number in (1, 2, 3)), "Counting")) == [1, 2, 3]
    assert "Counting: 3/3" in capsys.readouterr().out
