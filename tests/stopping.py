"""Start trainings in child processes and stop them in the middle; see `test_resume.py`.

    python -m tests.stopping '{"runs": [{"overrides": [...], "stop": {"at": "step 3", ...}}, ...]}'

prints one JSON line a run, with its exit code. A child is forked from this process, which has
imported everything and computed nothing, so that a start costs seconds. It runs the real command.

A child reports where it is: "step N" when the step after N optimizer steps begins, "validation N",
and "write N" when half of a checkpoint of step N is on disk. `stop` says at which report, after how
many seconds of delay, and with which signal it is stopped. The child waits for the signal there, or
with a delay at its next report, so that it comes to no later step however late the signal is.
"""

import io
import json
import os
import signal
import sys
import time

ANY = "any"
"""Stands for whatever a child reports next."""


def child(overrides, log, reports, sent, stop):
    """Run the command `train` and report on the way; never returns.

    There is something to read from `sent` when the signal has been sent.
    """
    import torch

    from pixelsmile import checkpoints, train
    from pixelsmile.module import PixelSmile

    screen = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(screen, 1)
    os.dup2(screen, 2)

    awaited = [stop["at"]] if stop else []

    def report(what, step):
        line = f"{what} {step}"
        os.write(reports, f"{line}\n".encode())
        if awaited == [line] and stop.get("delay"):
            awaited[:] = [ANY]
        elif awaited in ([line], [ANY]):
            awaited.clear()
            os.read(sent, 1)

    begin, validation, save = (
        PixelSmile.on_train_batch_start,
        PixelSmile.validation_step,
        torch.save,
    )

    def reported_begin(module, *args):
        report("step", module.global_step)
        return begin(module, *args)

    def reported_validation(module, *args):
        report("validation", module.global_step)
        return validation(module, *args)

    def reported_save(checkpoint, file):
        buffer = io.BytesIO()
        save(checkpoint, buffer)
        data = buffer.getvalue()
        file.write(data[: len(data) // 2])
        file.flush()
        report("write", checkpoint["global_step"])
        file.write(data[len(data) // 2 :])

    PixelSmile.on_train_batch_start = reported_begin
    PixelSmile.validation_step = reported_validation
    checkpoints.torch.save = reported_save
    sys.argv = ["train", *overrides]
    code = 0
    try:
        train.main()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def run(overrides, log, stop=None):
    """Run one child, stop it where asked to, and return what became of it."""
    receiving, sending = os.pipe()
    sent, tell = os.pipe()
    at = stop["at"] if stop else ""
    pid = os.fork()
    if pid == 0:
        try:
            os.close(tell)
            child(overrides, log, sending, sent, stop)
        finally:
            os._exit(70)
    os.close(sending)
    seen = []
    with os.fdopen(receiving) as reports:
        for line in reports:  # ends when the child does
            seen.append(line.strip())
            if stop and seen.count(at) == 1 and line.strip() == at:
                time.sleep(stop.get("delay", 0.0))
                os.kill(pid, stop["signal"])
                if stop["signal"] == signal.SIGKILL:
                    break  # its loader workers keep the pipe open for some seconds
                os.write(tell, b".")
    _, status = os.waitpid(pid, 0)
    os.close(sent)
    os.close(tell)
    return {"code": os.waitstatus_to_exitcode(status), "seen": seen}


def main():
    import torch

    import pixelsmile.train  # noqa: F401 - children find everything imported

    torch.set_num_threads(1)
    for job in json.loads(sys.argv[1])["runs"]:
        sys.stdout.write(json.dumps(run(**job)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
