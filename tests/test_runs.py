"""Which run a start goes on with: never a torn checkpoint, never one that somebody else trains."""

import os
import signal
import time
from contextlib import contextmanager

import pytest
import torch
from omegaconf import OmegaConf

from pixelsmile.checkpoints import (
    BEST,
    LAST,
    PREVIOUS,
    WholeCheckpointIO,
    give_name,
    is_whole,
    newest_whole,
)
from pixelsmile.errors import UserError
from pixelsmile.runs import CHECKPOINTS, checkpoint_of, locked, open_run


def write(path, step):
    """Write a small checkpoint, each a moment after the one before."""
    numbers = torch.Generator().manual_seed(step)
    state = {"global_step": step, "state_dict": {"a": torch.randn(500, generator=numbers)}}
    WholeCheckpointIO().save_checkpoint(state, path)
    moment = time.time_ns() + step * 10**9
    os.utime(path, ns=(moment, moment))
    return path


def config(folder, *, name="human-20260101-000000", domain="human", resume=None):
    return OmegaConf.create(
        {"name": name, "resume": resume, "domain": {"name": domain}, "paths": {"runs": str(folder)}}
    )


def make_run(folder, name, *, step=None, domain="human", finished=False):
    run = folder / name
    run.mkdir(parents=True)
    OmegaConf.save(config(folder, name=name, domain=domain), run / "config.yaml")
    if step is not None:
        write(run / CHECKPOINTS / LAST, step)
    if finished:
        (run / "metrics.json").write_text("{}")
    return run


def opened(*args, **options):
    with open_run(config(*args, **options)) as found:
        return found


# ---- whole and torn -------------------------------------------------------------------------


def test_checkpoint_is_whole_only_to_the_last_byte(tmp_path):
    path = write(tmp_path / LAST, 1)
    whole = path.read_bytes()
    assert is_whole(path)
    numbers = torch.Generator().manual_seed(0)
    for cut in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert not is_whole(path), cut
    tensor = whole.index(torch.randn(500, generator=numbers.manual_seed(1)).numpy().tobytes())
    for place in (tensor, tensor + 1999):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert not is_whole(path), place
    hole = bytearray(whole)
    hole[tensor : tensor + 512] = bytes(512)  # what a crash of the machine leaves of unsynced pages
    path.write_bytes(hole)
    assert not is_whole(path)


def test_newest_whole_checkpoint_is_found(tmp_path):
    assert newest_whole(tmp_path) == (None, [])
    best, previous, last = paths = [tmp_path / name for name in (BEST, PREVIOUS, LAST)]
    for step, path in enumerate(paths):
        write(path, step)
    assert newest_whole(tmp_path) == (last, [])
    last.write_bytes(last.read_bytes()[:-30])
    assert newest_whole(tmp_path) == (previous, [last])
    previous.write_bytes(b"")
    assert newest_whole(tmp_path) == (best, [last, previous])
    best.write_bytes(b"PK")
    assert newest_whole(tmp_path) == (None, [last, previous, best])


def test_second_name_stays_when_the_first_is_written_anew(tmp_path):
    give_name(write(tmp_path / LAST, 1), PREVIOUS)
    write(tmp_path / LAST, 2)
    steps = [torch.load(tmp_path / name)["global_step"] for name in (PREVIOUS, LAST)]
    assert steps == [1, 2]
    assert {path.name for path in tmp_path.iterdir()} == {PREVIOUS, LAST}


def test_torn_checkpoint_is_passed_over_with_a_sentence(tmp_path, capsys):
    run = make_run(tmp_path, "a", step=5)
    previous = write(run / CHECKPOINTS / PREVIOUS, 3)
    last = run / CHECKPOINTS / LAST
    last.write_bytes(last.read_bytes()[:-1])
    (run / CHECKPOINTS / ".last.ckpt.0a1b2c3d").write_bytes(b"half")  # of a process that was killed
    assert checkpoint_of(run) == previous
    assert (
        f"{last} is torn and passed over: going on from previous.ckpt." in capsys.readouterr().err
    )
    assert {p.name for p in last.parent.iterdir()} == {PREVIOUS, "last.ckpt.torn"}
    previous.write_bytes(b"PK")
    with pytest.raises(
        UserError, match=r"No checkpoint in .*checkpoints is whole \(previous\.ckpt"
    ):
        checkpoint_of(run)


# ---- which run ------------------------------------------------------------------------------


def test_nothing_to_resume_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"Nothing to resume: .* holds no run"):
        opened(tmp_path, resume=str(tmp_path))


def test_latest_stands_for_the_run_that_it_points_to(tmp_path, monkeypatch):
    run = make_run(tmp_path, "mine", step=3)
    opened(tmp_path, resume=str(run))
    for name in ("latest", "latest/"):
        assert opened(tmp_path, resume=f"{tmp_path}/{name}") == (run, run / CHECKPOINTS / LAST)
        assert (tmp_path / "latest").readlink().name == "mine"
    monkeypatch.chdir(run)
    assert opened(tmp_path, resume=".")[0] == run
    assert (tmp_path / "latest").resolve() == run


def test_auto_goes_on_with_the_newest_unfinished_run_of_that_name_and_domain(tmp_path):
    make_run(tmp_path, "human-20250101-000000", step=1)
    wanted = make_run(tmp_path, "human-20250102-000000", step=2)
    make_run(tmp_path, "human-20250103-000000", step=3, finished=True)
    make_run(tmp_path, "anime-20250104-000000", step=4, domain="anime")
    make_run(tmp_path, "human", step=5, domain="anime")
    make_run(tmp_path, "hinge-20250105-000000", step=6)
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "config.yaml").write_text("[: not yaml")
    assert opened(tmp_path, resume="auto") == (wanted, wanted / CHECKPOINTS / LAST)
    assert (tmp_path / "latest").resolve() == wanted.resolve()


def test_other_settings_than_before_are_named(tmp_path, capsys):
    run = make_run(tmp_path, "mine", step=3)
    other = config(tmp_path, name="mine", resume="auto")
    with open_run(other):
        pass
    assert capsys.readouterr().err == ""
    other.seed, other.paths.cache = 1, "${paths.runs}/cache"
    with open_run(other):
        pass
    words = "goes on with other settings than before: paths.cache (was None), seed (was None)."
    assert f"{run} {words}" in capsys.readouterr().err
    with open_run(other):
        pass
    assert capsys.readouterr().err == ""


def test_auto_starts_a_new_run_where_there_is_none(tmp_path):
    make_run(tmp_path, "human-20250103-000000", step=3, finished=True)
    run, checkpoint = opened(tmp_path, resume="auto")
    assert (run.name, checkpoint) == ("human-20260101-000000", None)
    assert opened(tmp_path, resume="auto", name="other")[0].name == "other"


def test_auto_prefers_a_named_run_and_begins_it_where_it_has_no_checkpoint(tmp_path):
    make_run(tmp_path, "human-20250103-000000", step=3)
    run = make_run(tmp_path, "mine")
    assert opened(tmp_path, resume="auto", name="mine") == (run, None)


def test_new_run_does_not_write_over_a_stopped_one(tmp_path):
    make_run(tmp_path, "mine", step=3)
    with pytest.raises(UserError, match=r"was stopped: go on with resume=.*mine or resume=auto"):
        opened(tmp_path, name="mine")
    make_run(tmp_path, "done", finished=True)
    for resume in (None, "auto"):
        with pytest.raises(UserError, match="holds a finished run: choose another name="):
            opened(tmp_path, name="done", resume=resume)


@contextmanager
def training_elsewhere(run):
    """Let another process hold a run."""
    ready, finished = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        with locked(run):
            os.write(ready[1], b"x")
            os.read(finished[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    try:
        yield
    finally:
        os.write(finished[1], b"x")
        os.waitpid(pid, 0)


def test_run_of_another_process_is_left_alone(tmp_path):
    run = make_run(tmp_path, "human-20250101-000000", step=1)
    partial = run / CHECKPOINTS / ".last.ckpt.0a1b2c3d"
    partial.write_bytes(b"half")
    with training_elsewhere(run):
        with pytest.raises(UserError, match="is being trained by another process"):
            opened(tmp_path, resume=str(run))
        assert opened(tmp_path, resume="auto")[0] != run
        assert partial.exists()
    assert opened(tmp_path, resume=str(run))[0] == run
    assert not partial.exists()


def test_child_that_outlives_its_run_does_not_keep_the_lock(tmp_path):
    """As a loader worker does for some seconds after kill -9."""
    run = make_run(tmp_path, "a", step=1)
    with locked(run):
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
            os._exit(0)
    try:
        with training_elsewhere(run):
            pass
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
