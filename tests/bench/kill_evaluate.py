"""Evaluate in child processes that are killed on the way; see `test_kill.py`.

`python -m tests.bench.kill_evaluate '{"overrides": [...], "stops": ["edit 3", "judge 5", ...]}'`

A child is forked from this process, which has imported everything. It reports every edit that is
asked for, every image that is judged and every face that is embedded, and is killed with -9 at the
report that `stops` names, such as the third edit, where it waits for that; the last child runs to
the end. Prints one JSON line: the reports of each child.
"""

import json
import os
import signal
import sys
import time


def child(overrides, reports, kind, count):
    """Run the command, up to the report of some kind that makes a count full; never returns."""
    from pixelsmile import evaluate
    from pixelsmile.bench import identity, stages
    from pixelsmile.judges.in_process import TinyJudge

    seen = []

    def report(what, name):
        seen.append(f"{what} {name}")
        os.write(reports, f"{seen[-1]}\n".encode())
        if kind and sum(line.startswith(kind) for line in seen) == count:
            time.sleep(3600)  # until it is killed

    write, look, embed = stages._write, TinyJudge.look, identity._embed

    def reported_write(folder, task, strength, data):
        report("edit", f"{task.name} {strength}")
        return write(folder, task, strength, data)

    def reported_look(judge, pictures, keys):
        for key in keys:
            report("judge", key)
        return look(judge, pictures, keys)

    def reported_embed(recogniser, path, row):
        if path.parent.name == "edits":
            report(f"embed {recogniser.name}", path.name)
        return embed(recogniser, path, row)

    stages._write, TinyJudge.look, identity._embed = reported_write, reported_look, reported_embed
    screen = os.open(os.devnull, os.O_WRONLY)
    os.dup2(screen, 1)
    sys.argv = ["evaluate", *overrides]
    code = 0
    try:
        evaluate.main()
    except SystemExit as end:
        code = end.code or 0
    os._exit(code)


def run(overrides, stop):
    """Run one child, kill it at a report, and return its reports and exit code."""
    receiving, sending = os.pipe()
    kind, _, count = (stop or " 0").rpartition(" ")
    pid = os.fork()
    if pid == 0:
        try:
            child(overrides, sending, kind, int(count))
        finally:
            os._exit(70)
    os.close(sending)
    seen = []
    with os.fdopen(receiving) as reports:
        for line in reports:
            seen.append(line.strip())
            if stop and sum(row.startswith(kind) for row in seen) == int(count):
                os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return {"code": os.waitstatus_to_exitcode(status), "seen": seen}


def main():
    """Run all children."""
    import torch

    import pixelsmile.evaluate  # noqa: F401 - children find everything imported

    torch.set_num_threads(1)
    job = json.loads(sys.argv[1])
    runs = [run(job["overrides"], stop) for stop in [*job["stops"], None]]
    sys.stdout.write(json.dumps(runs) + "\n")


if __name__ == "__main__":
    main()
