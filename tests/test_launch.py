"""Processes of one machine are started together, and none outlives another's end."""

import os
import re
import signal
import sys
import threading
import time

import pytest
from omegaconf import OmegaConf

from pixelsmile import launch as launching
from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.errors import LOST_PEER, UserError
from pixelsmile.launch import launch, processes_wanted
from pixelsmile.ranks import Place, own_place


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start two light processes that do what they are told."""
    monkeypatch.chdir(CONFIG_FOLDER.parent)
    monkeypatch.setenv("PYTHONPATH", str(CONFIG_FOLDER.parent))
    words = [str(tmp_path), str(LOST_PEER)]
    return lambda what: launch("tests.ranked", [what, *words], 2, "Go on with: resume=x.")


@pytest.fixture
def impatient(monkeypatch):
    """Wait no longer than needed for a process that does not end by itself."""
    monkeypatch.setattr(launching, "GRACE", 0.5)


def when_both_are_there(folder, act):
    """Call `act` with both pids as soon as both processes run."""

    def wait():
        files = [folder / f"{rank}.environment" for rank in range(2)]
        while not all(file.is_file() and file.read_text().endswith("}") for file in files):
            time.sleep(0.02)
        act([int((folder / f"{rank}.pid").read_text()) for rank in range(2)])

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_processes_learn_their_places_and_the_first_alone_speaks(start, tmp_path, capfd):
    assert start("end") == 0
    output = capfd.readouterr()
    assert output.out == "rank 0 speaks\n"
    assert output.err == "rank 0 complains\n"
    environments = [eval((tmp_path / f"{rank}.environment").read_text()) for rank in range(2)]
    assert [own_place(one) for one in environments] == [Place(0, 2, 0), Place(1, 2, 1)]
    assert environments[0]["MASTER_PORT"] == environments[1]["MASTER_PORT"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("rank", [0, 1])
def test_killed_process_is_named_and_takes_the_others_along(start, tmp_path, capfd, rank):
    pids = []

    def kill(both):
        pids.extend(both)
        os.kill(both[rank], signal.SIGKILL)

    when_both_are_there(tmp_path, kill)
    started = time.monotonic()
    assert start("wait") == 128 + signal.SIGKILL
    assert time.monotonic() - started < 30
    assert not any(map(is_alive, pids))
    message = capfd.readouterr().err.splitlines()[-1]
    assert message == (
        f"error: process {rank + 1} of 2 (rank {rank}, pid {pids[rank]}) was killed by SIGKILL; "
        "the others were ended. Go on with: resume=x."
    )


@pytest.mark.usefixtures("impatient")
def test_last_words_of_a_process_that_fails_alone_are_shown(start, capfd):
    assert start("fail") == 1
    errors = capfd.readouterr().err
    assert "RuntimeError: out of luck" in errors
    assert re.search(r"\(rank 1, pid \d+\) ended with exit code 1; the others", errors)


def test_refusal_of_all_processes_is_said_once(start, capfd):
    assert start("refuse") == 2
    assert capfd.readouterr().err == "rank 0 complains\n"


def test_process_that_refuses_alone_is_heard_though_the_first_has_only_lost_it(start, capfd):
    assert start("lose") == 2
    *before, last = capfd.readouterr().err.splitlines()
    assert before == ["rank 0 complains", "rank 1 complains"]
    assert re.search(r"error: .*\(rank 1, pid \d+\) ended with exit code 2; the others", last)


def test_signal_reaches_every_process_once(start, tmp_path, capfd):
    before = signal.getsignal(signal.SIGUSR1)
    when_both_are_there(tmp_path, lambda pids: os.kill(os.getpid(), signal.SIGUSR1))
    assert start("stop") == 128 + signal.SIGUSR1
    for rank in range(2):
        assert (tmp_path / f"{rank}.signals").read_text() == f"[{int(signal.SIGUSR1)}]"
    assert "error" not in capfd.readouterr().err
    assert signal.getsignal(signal.SIGUSR1) is before


def test_signal_while_processes_are_being_started_ends_them(start, monkeypatch):
    begin = launching._start

    def signalled(command, rank, *rest):
        worker = begin(command, rank, *rest)
        if rank == 0:
            os.kill(os.getpid(), signal.SIGUSR1)
        return worker

    monkeypatch.setattr(launching, "_start", signalled)
    assert start("stop") == 128 + signal.SIGUSR1


# ---- how many -------------------------------------------------------------------------------


def trainer(**settings):
    return OmegaConf.create({"accelerator": "cpu", "devices": 1, **settings})


@pytest.mark.parametrize(("devices", "wanted"), [(1, 0), (4, 4), ("auto", 0)])
def test_processes_are_started_where_several_are_asked_for(devices, wanted):
    node = trainer(devices=devices)
    assert processes_wanted(node) == wanted
    assert isinstance(node.devices, int)


def test_processes_that_run_already_are_not_started_again(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert processes_wanted(trainer(devices=4, num_nodes=2)) == 0
    with pytest.raises(UserError, match=r"8 processes were started for trainer\.devices=4 on"):
        processes_wanted(trainer(devices=4))


def test_other_nodes_are_not_started_from_here():
    with pytest.raises(UserError, match=r"num_nodes is 2, .* torchrun or srun, see docs/cluster"):
        processes_wanted(trainer(devices=4, num_nodes=2))


@pytest.mark.parametrize("devices", [0, -2, "four", [0, 1]])
def test_devices_are_a_number(devices):
    with pytest.raises(UserError, match="say a number of processes, or auto"):
        processes_wanted(trainer(devices=devices))


def test_training_that_would_be_refused_starts_no_processes(monkeypatch, capfd):
    from pixelsmile import train

    monkeypatch.setattr(train, "launch", lambda *_: pytest.fail("processes were started"))
    words = ["trainer=fsdp", "trainer.devices=2", "optimizer=adamw_8bit"]
    monkeypatch.setattr(sys, "argv", ["train", *words])
    with pytest.raises(SystemExit) as end:
        train.main()
    assert end.value.code == 2
    assert "model.optimizer is bitsandbytes.optim.AdamW8bit" in capfd.readouterr().err


# ---- places ---------------------------------------------------------------------------------

SLURM = {"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_JOB_NAME": "train"}


def test_srun_says_the_place():
    assert own_place(SLURM) == Place(5, 8, 1)


def test_torchrun_inside_of_srun_says_the_place():
    assert own_place(SLURM | {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "2"}) == Place(2, 4, 2)


def test_interactive_job_of_slurm_is_one_process():
    assert own_place(SLURM | {"SLURM_JOB_NAME": "bash"}) == Place()


def test_places_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="SLURM_PROCID=9 and SLURM_NTASKS=8 do not fit together"):
        own_place(SLURM | {"SLURM_PROCID": "9"})
