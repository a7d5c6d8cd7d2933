from dataclasses import replace

import numpy as np
import pytest

from pixelsmile.bench import bootstrap
from pixelsmile.bench.figures import confusion_figure, trade_off
from pixelsmile.expressions import EXPRESSIONS
from tests.bench.tables import RECOGNISERS, random_table


def test_intervals_of_the_trade_off_are_over_faces_and_not_over_edits():
    """Six equal edits of a face are one observation."""
    values = np.random.default_rng(0).random(10)
    table = [
        replace(
            edit,
            scores=(values[place // 3 % 10],) * 12,
            cosines=dict.fromkeys(RECOGNISERS, values[place // 3 % 10]),
        )
        for place, edit in enumerate(random_table(tasks=60, faces=10))
    ]
    (point,) = trade_off(table, [1.0])
    rows = values[:, None], np.ones((10, 1))
    expected = bootstrap.interval(*rows, draws=2000)
    for name in ("score", "similarity"):
        assert (point[f"{name}_low"], point[f"{name}_high"]) == pytest.approx(expected)
        assert point[name] == pytest.approx(values.mean())
    assert point["n"] == 60


def test_the_column_of_nothing_seen_is_drawn_where_there_is_any():
    counts = np.eye(12, 13, dtype=int)
    assert b"<!-- nothing -->" not in confusion_figure(counts, EXPRESSIONS)["svg"]
    counts[3, 12] = 2
    assert b"<!-- nothing -->" in confusion_figure(counts, EXPRESSIONS)["svg"]
