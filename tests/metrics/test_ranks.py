import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.metrics.two_ranks import measure

SCRIPT = Path(__file__).with_name("two_ranks.py")


@pytest.mark.slow
def test_two_processes_give_what_one_gives_with_uneven_rows_and_with_an_empty_rank(tmp_path):
    root = str(SCRIPT.parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(tmp_path), str(rank), "2"],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in ranks:
            _, errors = process.communicate(timeout=240)
            assert process.returncode == 0, errors
    finally:
        for process in ranks:
            process.kill()
    expected = measure(range(23))
    for rank in range(2):
        results = json.loads((tmp_path / f"{rank}.json").read_text())
        for case in ("uneven", "empty"):
            for name, value in expected.items():
                assert results[case][name] == pytest.approx(value, rel=1e-6), (rank, case, name)
