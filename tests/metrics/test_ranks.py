"""Any number of processes gives what other libraries compute from all rows, to nine digits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.metrics.pairwise import paired_cosine_distances

from tests.metrics.two_ranks import measure, rows

SCRIPT = Path(__file__).with_name("two_ranks.py")


def independent():
    """The five numbers of all rows, by scikit-learn and SciPy."""
    inputs = {name: [tensor.numpy().astype(float) for tensor in x] for name, x in rows().items()}
    predicted, requested = inputs["mscr"]
    shares = confusion_matrix(requested, predicted, normalize="true")
    counted = np.isin(requested, [0, 1])
    strength, score = inputs["cls"]
    curves = [
        0.0 if np.ptp(y) == 0 else stats.pearsonr(x, y).statistic
        for x, y in zip(strength, score, strict=True)
    ]
    source, edited = inputs["identity"]
    cosines = [1 - paired_cosine_distances(a, b) for a, b in zip(source, edited, strict=True)]
    return {
        "mscr": np.mean([(shares[0, k] + shares[k, 0]) / 2 for k in (1, 2)]),
        "accuracy": accuracy_score(requested[counted], predicted[counted]),
        "hes": np.mean(stats.hmean(np.stack(inputs["hes"]))),
        "cls": np.mean(curves),
        "identity": np.mean(cosines),
    }


def check(results, where):
    for name, value in independent().items():
        assert results[name][0] == pytest.approx(value, abs=1e-9), (where, name)


def test_one_process_agrees_with_other_libraries():
    check(measure(range(23)), "one process")


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_with_uneven_rows_and_with_an_empty_rank_give_what_one_gives(
    tmp_path, world_size
):
    root = str(SCRIPT.parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(tmp_path), str(rank), str(world_size)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world_size)
    ]
    try:
        for process in ranks:
            _, errors = process.communicate(timeout=240)
            assert process.returncode == 0, errors
    finally:
        for process in ranks:
            process.kill()
    expected = measure(range(23))
    for rank in range(world_size):
        results = json.loads((tmp_path / f"{rank}.json").read_text())
        for case in ("uneven", "empty"):
            check(results[case], (rank, case))
            for name, value in expected.items():
                assert results[case][name] == pytest.approx(value, abs=1e-12), (rank, case, name)
