"""Evaluate in child processes that are killed on the way; see `test_kill.py`.

`python -m tests.bench.kill_evaluate '{"overrides": [...], "stops": ["edit 3", "judge 5", ...]}'`

A child is forked from this process, which has imported everything. It reports every edit that is
asked for, every image that is judged and every face that is embedded, and is killed with -9 at the
report that `stops` names, such as the third edit; the last child runs to the end. Prints one JSON
line: the reports of each child.
"""

import json
import os
import signal
import sys


def child(overrides, reports):
    """Run the command; never returns."""
    from pixelsmile import evaluate
    from pixelsmile.bench import identity, stages
    from pixelsmile.judges.in_process import TinyJudge

    def report(what, name):
        os.write(reports, f"{what} {name}\n".encode())

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
    pid = os.fork()
    if pid == 0:
        try:
            child(overrides, sending)
        finally:
            os._exit(70)
    os.close(sending)
    kind, _, count = (stop or "").rpartition(" ")
    seen, killed = [], False
    with os.fdopen(receiving) as reports:
        for line in reports:  # to the end: a child goes on for a moment until the signal arrives
            seen.append(line.strip())
            if stop and not killed and sum(row.startswith(kind) for row in seen) == int(count):
                os.kill(pid, signal.SIGKILL)
                killed = True
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
