"""An evaluation that is killed in and between its stages does nothing twice and loses nothing."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pixelsmile.bench.tasks import read_tasks
from tests.bench import tables

ROOT = Path(__file__).parents[2]
STOPS = ["edit 4", "judge 1", "judge 6", "embed red 1", "embed red 5"]


@pytest.mark.slow
def test_kills_in_every_stage_neither_repeat_nor_lose_anything(tmp_path, tiny_stack):
    tables.write_tasks(tmp_path / "in", ["fear", "surprised", "happy", "shy"])
    tasks = read_tasks(tmp_path / "in" / "tasks.jsonl", domain="human")
    tables.write_edits(tmp_path / "out", tasks)

    def words(name):
        return [
            "editor=folder",
            f"dir={tmp_path / 'out'}",
            "tasks=ffe_bench",
            f"tasks.file={tmp_path / 'in' / 'tasks.jsonl'}",
            "protocol.num_strengths=3",
            f"model.scorer.recognisers={tables.CHEAP}",
            f"model.weights={tiny_stack}",
            f"judge.folder={tiny_stack / 'judge'}",
            "judge.batch_size=5",
            f"paths.runs={tmp_path / 'runs'}",
            f"name={name}",
        ]

    killed = _run(words("killed"), STOPS)
    assert [run["code"] for run in killed] == [-9] * len(STOPS) + [0]
    (whole,) = _run(words("whole"), [])

    folders = [tmp_path / "runs" / "evaluate" / name for name in ("killed", "whole")]
    for name in ("metrics.json", "images.csv"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    for name in ("judge", "identity/landmarks", "identity/red"):
        rows = [_rows(folder / f"{name}.jsonl") for folder in folders]
        assert len({row["key"] for row in rows[0]}) == len(rows[0]), name
        assert _without_time(rows[0]) == _without_time(rows[1]), name
    assert {path.name for path in (folders[0] / "edits").iterdir()} == {
        path.name for path in (folders[1] / "edits").iterdir()
    }  # nothing half written is left

    # Work that was finished before a kill is not done after it: only what was under way is.
    done, again = Counter(whole["seen"]), Counter(row for run in killed for row in run["seen"])
    assert set(done.values()) == {1}
    assert set(again) == set(done)
    repeated = [row for row, times in again.items() if times > 1]
    assert len([row for row in repeated if row.startswith("edit")]) <= 1
    assert len([row for row in repeated if row.startswith("judge")]) <= 2 * 5  # a batch a kill
    assert len([row for row in repeated if row.startswith("embed")]) <= 2 * 3  # a task a kill
    assert max(again.values()) == 2


def _run(overrides, stops):
    """Return what the children reported."""
    job = json.dumps({"overrides": overrides, "stops": stops})
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.kill_evaluate", job],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def _rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def _without_time(rows):
    return sorted(
        json.dumps({key: value for key, value in row.items() if key != "time"}, sort_keys=True)
        for row in rows
    )
