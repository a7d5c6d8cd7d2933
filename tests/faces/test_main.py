"""`python -m pixelsmile.faces` as a user meets it: refusals, Ctrl-C, a kill, a full disk."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pixelsmile.faces.__main__ import main
from pixelsmile.faces.dataset import write_dataset

FAKE = "generator._target_=fake_faces.FakeFaces"


def start(*arguments, cwd, **environment):
    """Start the command as a terminal does: a shell's background jobs ignore Ctrl-C."""
    return subprocess.Popen(
        [sys.executable, "-m", "pixelsmile.faces", FAKE, "size=32", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process):
    """Wait for a command; return its exit code and both outputs."""
    try:
        out, err = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, out, err


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def session_members(leader):
    """Processes of the session that the command leads."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            members.append(int(stat.parent.name))
    return members


def tree(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def repository(monkeypatch):
    """Make the package importable where it is not installed."""
    root = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.environ["PYTHONPATH"], root]))


@pytest.fixture
def undisturbed(faces, tmp_path):
    """The files of the set of six identities, written without a break by one process."""
    write_dataset(faces, range(6), tmp_path / "undisturbed", size=32, workers=1)
    return tree(tmp_path / "undisturbed")


@pytest.mark.slow
@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("end", "code"),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)],
    ids=["kill", "interrupt"],
)
def test_a_stopped_run_leaves_no_set_and_no_process_and_is_continued(
    undisturbed, tmp_path, end, code
):
    out, partial = tmp_path / "set", tmp_path / "set.partial"
    arguments = ("identities=6", f"out={out}", "workers=2")
    process = start(*arguments, cwd=tmp_path, FAKE_SLOW_FROM="3")
    wait_for(lambda: len(list(partial.glob("records/*.json"))) >= 2)
    if end == signal.SIGKILL:
        process.kill()
    else:  # a terminal sends Ctrl-C to the whole group
        os.killpg(process.pid, end)
    returncode, _, error = finish(process)
    assert returncode == code
    assert "Traceback" not in error
    if end == signal.SIGINT:
        assert error == "Stopped. Run the same command again to continue where it stopped.\n"
    assert not out.exists()
    wait_for(lambda: not session_members(process.pid), seconds=60)

    finished = {path: path.stat().st_mtime_ns for path in partial.glob("records/*.json")}
    assert len(finished) in (2, 3)
    drawn = {
        f"images/{path.stem}/{image.name}": image.stat().st_mtime_ns
        for path in finished
        for image in (partial / "images" / path.stem).iterdir()
    }
    returncode, _, error = finish(start(*arguments, cwd=tmp_path))
    assert (returncode, error) == (0, "")
    assert tree(out) == undisturbed
    assert all((out / name).stat().st_mtime_ns == time for name, time in drawn.items())


@pytest.mark.slow
@pytest.mark.usefixtures("repository")
def test_a_full_disk_in_a_worker_is_one_sentence(tmp_path):
    arguments = ("identities=4", f"out={tmp_path / 'set'}", "workers=2")
    code, _, error = finish(start(*arguments, cwd=tmp_path, FAKE_FULL_AT="2"))
    assert code == 2
    assert error.startswith("error: disk is full while writing face.png: free some space.")
    assert error.count("\n") == 1
    assert not (tmp_path / "set").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("repository")
def test_a_worker_that_is_killed_is_one_sentence(tmp_path):
    arguments = ("identities=4", f"out={tmp_path / 'set'}", "workers=2")
    code, _, error = finish(start(*arguments, cwd=tmp_path, FAKE_KILLED_AT="2"))
    assert code == 2
    assert error.startswith("error: One of 2 worker processes was killed")
    assert error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.usefixtures("repository")
def test_the_command_says_where_the_set_is(tmp_path):
    code, out, error = finish(start("identities=2", "out=set", "split=val", cwd=tmp_path))
    assert (code, error) == (0, "")
    assert "2 identities in set/annotations.jsonl" in out
    assert "set/sheet.png" in out
    lines = (tmp_path / "set" / "annotations.jsonl").read_text().splitlines()
    assert {json.loads(line)["split"] for line in lines} == {"val"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["identities=0"], 2, "error: identities=0 leaves the set empty: ask for 1 or more.\n"),
        (["identities=-3"], 2, "error: identities=-3 leaves the set empty"),
        (["identities=many"], 2, "error: identities=many is no whole number: say identities=200."),
        (["first_seed=8990"], 2, "error: Seed 9189 is reserved for evaluation"),
        (["strengths=1"], 2, "error: strengths=1 is no list of numbers"),
        (["reserved=maybe"], 2, "error: reserved=maybe: say reserved=true or reserved=false."),
        (["workers=0"], 2, "error: workers=0: give a number from 1 up"),
        (["domain=cat"], 1, "Available options in 'domain':\n\tanime\n\thuman"),
        (["identitys=3"], 1, "No key 'identitys': did you mean identities? Keys: domain, first"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_on_the_command_line_is_explained(
    tmp_path, monkeypatch, capsys, arguments, code, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["faces", FAKE, *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    error = capsys.readouterr().err
    assert stop.value.code == code
    assert message in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []
