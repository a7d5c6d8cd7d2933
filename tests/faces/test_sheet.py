"""Contact sheets put each image where its labels say."""

import numpy as np
import pytest
from PIL import Image

from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.faces.dataset import write_dataset
from pixelsmile.faces.sheet import EMPTY, INK, contact_sheet


def plain(colour, size=32):
    return Image.new("RGB", (size, size), colour)


def test_each_image_lies_in_its_row_and_column():
    colours = [[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (9, 9, 9)]]
    images = [[plain(colour) for colour in row] for row in colours]
    sheet = contact_sheet(images, ["one", "two"], ["a", "b"], cell=32)
    left, top = sheet.width - 2 * 32 - 8, sheet.height - 2 * 32 - 8
    for row in range(2):
        for column in range(2):
            middle = (left + 32 * column + 16, top + 32 * row + 16)
            assert sheet.getpixel(middle) == colours[row][column]


def test_a_missing_image_is_a_grey_cell_and_others_are_scaled():
    sheet = contact_sheet([[None, plain((255, 0, 0), size=7)]], ["row"], ["a", "b"], cell=32)
    assert sheet.getpixel((sheet.width - 56, sheet.height - 24)) == EMPTY
    assert sheet.getpixel((sheet.width - 24, sheet.height - 24)) == (255, 0, 0)


def test_labels_are_written_beside_every_row():
    rows = [[plain((255, 255, 255))] for _ in range(3)]
    sheet = np.array(contact_sheet(rows, ["first", "second", "third"], ["1.0"], cell=32))
    top = sheet.shape[0] - 3 * 32 - 8
    for row in range(3):
        label = sheet[top + 32 * row : top + 32 * (row + 1), : -32 - 8]
        assert (label < 100).any(axis=2).sum() > 20, "no ink"
    assert max(INK) < 100


def test_labels_that_do_not_fit_the_grid_are_refused():
    with pytest.raises(ValueError, match="as many labels"):
        contact_sheet([[plain((0, 0, 0))]], ["one", "two"], ["a"])


def test_the_sheet_of_a_set_shows_neutral_and_every_expression(faces, tmp_path):
    annotations = write_dataset(faces, range(6), tmp_path / "set", size=64, workers=1)
    sheet = Image.open(annotations.parent / "sheet.png")
    assert sheet.width > 4 * 3 * 128
    assert sheet.height > (1 + len(EXPRESSIONS)) * 128
    assert sheet.width < 5 * 3 * 128
