"""Pictures show the right face in the right place."""

import json

import numpy as np
import pytest
import torch

from pixelsmile.pictures import confusion_picture, strip_sheet, to_uint8
from pixelsmile.report import results_table, write_json
from pixelsmile.scoring import METRIC_NAMES

SIZE = 24


def grey(value, *shape):
    return torch.full((*shape, 3, SIZE, SIZE), value)


def test_pixels_are_rounded_and_clipped():
    values = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).view(1, 1, 5).expand(3, 1, 5)
    assert to_uint8(values)[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    assert to_uint8(torch.zeros(2, 4, 3, 5, 6)).shape == (2, 4, 5, 6, 3)


@pytest.mark.parametrize("pixel", [0, 1, 127, 128, 254, 255])
def test_bytes_survive_the_way_to_tensors_and_back(pixel):
    assert (to_uint8(torch.full((3, 1, 1), pixel / 127.5 - 1)) == pixel).all()


def test_strip_puts_each_edit_in_its_row_and_column():
    strengths = (0.0, 0.5, 1.0)
    edits = torch.stack(
        [torch.stack([grey(-0.9 + 0.05 * (3 * k + s)) for s in range(3)]) for k in range(12)]
    )
    source, truth = grey(0.95), torch.stack([grey(0.99 - 0.001 * k) for k in range(12)])
    sheet = strip_sheet(edits, strengths, source=source, truth=truth)
    left, top = sheet.shape[1] - 5 * SIZE, sheet.shape[0] - 12 * SIZE
    assert left > 0
    assert top > 0

    def cell(row, column):
        y, x = top + row * SIZE, left + column * SIZE
        return sheet[y : y + SIZE, x : x + SIZE]

    for row in range(12):
        assert (cell(row, 0) == to_uint8(source)).all()
        for column in range(3):
            assert (cell(row, 1 + column) == to_uint8(edits[row, column])).all()
        assert (cell(row, 4) == to_uint8(truth[row])).all()


def test_strip_without_truth_ends_with_full_strength():
    edits = torch.stack([torch.stack([grey(-1.0), grey(0.5)]) for _ in range(12)])
    sheet = strip_sheet(edits, (0.0, 1.0), source=grey(-0.5))
    assert (sheet[-SIZE:, -SIZE:] == to_uint8(grey(0.5))).all()
    with_truth = strip_sheet(edits, (0.0, 1.0), source=grey(-0.5), truth=grey(0.0, 12))
    assert with_truth.shape[1] == sheet.shape[1] + SIZE


def test_confusion_is_darker_where_more_is_seen():
    counts = torch.zeros(12, 12, dtype=torch.int64)
    counts[5, 10], counts[5, 5] = 3, 1  # fear reads as surprised three times in four
    counts[7, 7] = 9
    picture = confusion_picture(counts)
    cell = 44  # pixels

    def corner(row, column):
        """A pixel of the shade, away from the number in the middle."""
        top, left = picture.shape[0] - 8 - 12 * cell, picture.shape[1] - 8 - 12 * cell
        return int(picture[top + row * cell + 4, left + column * cell + 4].sum())

    assert corner(7, 7) < corner(5, 10) < corner(5, 5) < corner(0, 0) == 3 * 255
    assert corner(10, 5) == 3 * 255  # rows are requests: the table is not symmetric


def test_expression_that_was_never_requested_is_drawn_white():
    picture = confusion_picture(torch.zeros(12, 12, dtype=torch.int64))
    assert np.isfinite(picture).all()
    assert picture[-20:, -20:].min() == 255


@pytest.fixture
def results():
    return {name: {"value": 0.5, "low": 0.25, "high": 0.75, "n": 12} for name in METRIC_NAMES}


def test_table_shows_every_metric_with_interval_and_n(results):
    from rich.console import Console

    other = {name: measured | {"value": 0.125} for name, measured in results.items()}
    console = Console(width=140, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(results_table(results, other, results))
    lines = [line for line in console.export_text().splitlines() if "[0.250, 0.750]" in line]
    assert len(lines) == len(METRIC_NAMES)
    for line in lines:
        assert line.count("0.500") == 2
        assert line.count("0.125") == 1
        assert " 12 " in line


def test_json_appears_whole_or_not_at_all(tmp_path, results, monkeypatch):
    path = tmp_path / "metrics.json"
    write_json(path, results)
    assert json.loads(path.read_text()) == results
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_json(path, {})
    assert json.loads(path.read_text()) == results
