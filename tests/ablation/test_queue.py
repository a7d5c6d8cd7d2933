"""Runs side by side: in processes of their own, none waits for another, none is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pixelsmile.ablation.queue import Run, gpu_names, train_all
from pixelsmile.errors import UserError

ROOT = Path(__file__).parents[2]


def make_runs(folder, *names):
    return [Run(name, folder / name, folder / "logs" / f"{name}.log", ()) for name in names]


def work(run):
    """Meet the other run, or fail as told."""
    print(f"hello from {run.name}, {os.environ['OMP_NUM_THREADS']}")  # noqa: T201
    if run.name == "wrong":
        raise UserError("Nothing fits: choose another.")
    if run.name == "broken":
        raise ZeroDivisionError
    run.folder.mkdir()
    while len(list(run.folder.parent.glob("meet*"))) < 2:
        time.sleep(0.01)
    (run.folder / "metrics.json").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("queue")
    begun = []
    runs = make_runs(folder, "meet-a", "meet-b", "wrong", "broken")
    found = list(
        train_all(
            runs, work, workers=2, begin=lambda run: begun.append(run.name), gpus=["0", "GPU-x"]
        )
    )
    return {one.run.name: one for one in found}, begun


def test_runs_go_side_by_side_in_order(ended):
    found, begun = ended
    assert begun == ["meet-a", "meet-b", "wrong", "broken"]
    assert {name: one.code for name, one in found.items()} == {
        "meet-a": 0,
        "meet-b": 0,
        "wrong": 2,
        "broken": 1,
    }


def test_what_a_run_prints_is_in_its_log_and_the_last_line_is_the_reason(ended):
    found, _ = ended
    assert "hello from meet-a" in found["meet-a"].run.log.read_text()
    assert found["wrong"].reason == "error: Nothing fits: choose another."
    assert found["broken"].reason == "ZeroDivisionError"


def test_every_run_has_a_gpu_of_its_own(ended):
    found, _ = ended
    seen = {(found[name].run.folder / "metrics.json").read_text() for name in ("meet-a", "meet-b")}
    assert seen == {"0", "GPU-x"}


def test_names_of_gpus_are_those_that_are_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpu_names(2) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,5")
    assert gpu_names(2) == ["GPU-a", "5"]
    assert gpu_names(0) == []


SCRIPT = """
import sys, time
from pathlib import Path
from pixelsmile.ablation.queue import Run, train_all
from pixelsmile.signals import StopSignals, Stopped

def work(run):
    with StopSignals():
        try:
            run.folder.mkdir()
            time.sleep(60)
        except Stopped:
            (run.folder / "saved").touch()
            raise

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    runs = [Run(n, folder / n, folder / "logs" / n, ()) for n in ("a", "b")]
    list(train_all(runs, work, workers=2))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_runs_save_themselves_when_their_parent_is_stopped_or_killed(tmp_path, number):
    (tmp_path / "start.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "start.py"), str(tmp_path)], env=environment
    )
    try:
        _until(lambda: all((tmp_path / name).is_dir() for name in ("a", "b")))
        time.sleep(0.2)
        process.send_signal(number)
        code = process.wait(60)
    finally:
        process.kill()
    assert code == (128 + number if number == signal.SIGTERM else -number)
    _until(lambda: all((tmp_path / name / "saved").is_file() for name in ("a", "b")))


def _until(there, seconds=120.0):
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end
        time.sleep(0.05)
