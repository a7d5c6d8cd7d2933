"""The FFE reader keeps every number, and refuses what it cannot use with a way out."""

import json
import math

import pytest
from PIL import Image

from pixelsmile.data.ffe import read_ffe
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, index

POINTS = [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10.5]]


@pytest.fixture
def row():
    return {
        "image": "images/a.png",
        "identity": "ann",
        "domain": "human",
        "category": "happy",
        "scores": {"happy": 0.75, "shy": 0.25},
        "box": [1, 2, 30, 40],
        "landmarks": POINTS,
        "split": "train",
    }


@pytest.fixture
def write(tmp_path):
    """Write lines, or rows as JSON, beside one image."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")

    def write(*rows):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path = tmp_path / "annotations.jsonl"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def test_line_is_read_with_every_number(write, row):
    path = write(row)
    (sample,) = read_ffe(path)
    assert sample.image == path.parent / "images" / "a.png"
    assert (sample.identity, sample.domain, sample.category) == ("ann", "human", "happy")
    expected = [0.0] * 12
    expected[index("happy")], expected[index("shy")] = 0.75, 0.25
    assert sample.scores == tuple(expected)
    assert sample.box == (1, 2, 30, 40)
    assert sample.landmarks == tuple(tuple(map(float, point)) for point in POINTS)
    assert sample.split == "train"


def test_aliases_of_the_paper_are_understood(write, row):
    scores = {"happiness": 0.25, "drowsiness": 0.5, "neutral": 0.1}
    row |= {"category": "Happiness", "scores": scores}
    (sample,) = read_ffe(write(row))
    assert sample.category == "happy"
    assert (sample.scores[index("happy")], sample.scores[index("sleepy")]) == (0.25, 0.5)
    assert sum(sample.scores) == 0.75


def test_what_is_optional_may_be_absent_and_blank_lines_are_skipped(write, row):
    for key in ("box", "landmarks", "split"):
        del row[key]
    (sample,) = read_ffe(write("", row, "  "))
    assert (sample.box, sample.landmarks, sample.split) == (None, None, None)


def test_folder_stands_for_its_annotations_and_files_add_up(write, row, tmp_path):
    path = write(row)
    assert read_ffe(path.parent) == read_ffe(path)
    (more := tmp_path / "more").mkdir()
    Image.new("RGB", (8, 8)).save(more / "b.png")
    (more / "b.jsonl").write_text(json.dumps(row | {"image": "b.png", "identity": "bea"}))
    assert [s.identity for s in read_ffe(path, more / "b.jsonl")] == ["ann", "bea"]


def test_image_that_is_named_twice_is_refused_with_both_lines(write, row):
    with pytest.raises(UserError, match=r"jsonl:3: image .*a\.png was named at .*jsonl:1: keep"):
        read_ffe(write(row, "", row | {"category": "shy"}))


def test_domain_selects_lines(write, row):
    path = write(row, row | {"domain": "anime", "identity": "bea", "image": "images/b.png"})
    Image.new("RGB", (8, 8)).save(path.parent / "images" / "b.png")
    assert [sample.identity for sample in read_ffe(path, domain="anime")] == ["bea"]
    assert len(read_ffe(path)) == 2


def test_lines_of_the_other_domain_need_not_be_usable(write, row):
    other = {"domain": "anime", "image": "images/none.png", "scores": None}
    assert len(read_ffe(write(row, row | other), domain="human")) == 1


# ---- refusals -------------------------------------------------------------------------------


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"No annotations at .*none\.jsonl: check data"):
        read_ffe(tmp_path / "none.jsonl")


def test_empty_set_is_refused(write, row):
    with pytest.raises(UserError, match=r"set is empty: 0 images in .*Check the paths"):
        read_ffe(write(""))
    with pytest.raises(UserError, match=r"1 images in .*none of domain 'anime'"):
        read_ffe(write(row), domain="anime")


def test_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "annotations.jsonl"
    path.write_bytes(b'{"image": "\xff\xfe"}')
    with pytest.raises(UserError, match=r"annotations\.jsonl:1 is not UTF-8 text"):
        read_ffe(path)


@pytest.mark.parametrize("key", ["image", "identity", "domain", "category", "scores"])
def test_missing_key_is_refused_with_its_line(write, row, key):
    broken = {name: value for name, value in row.items() if name != key}
    with pytest.raises(UserError, match=rf"annotations\.jsonl:2 lacks the key '{key}'"):
        read_ffe(write(row, broken))


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ('{"image": ', r":1 is not JSON \(.*repair or remove"),
        ("[1, 2]", r":1 is not a JSON object"),
        ("3", r":1 is not a JSON object"),
    ],
)
def test_line_that_is_no_object_is_refused(write, line, match):
    with pytest.raises(UserError, match=match):
        read_ffe(write(line))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"domain": "cat"}, r"unknown domain 'cat', choose one of human, anime"),
        ({"category": "smug"}, r"Unknown expression 'smug': choose one of angry, .*neutral"),
        ({"image": "images/b.png"}, r"image .*b\.png is missing, restore it"),
        ({"scores": [0.5]}, r"'scores' must map names to numbers, got \[0\.5\]"),
        ({"scores": {"smug": 0.5}}, r"Unknown expression 'smug'"),
        ({"scores": {"happy": 1.01}}, r"score of 'happy' is 1\.01, expected a number in \[0, 1\]"),
        ({"scores": {"happy": -0.1}}, r"score of 'happy' is -0\.1"),
        ({"scores": {"happy": math.nan}}, r"score of 'happy' is nan"),
        ({"scores": {"happy": math.inf}}, r"score of 'happy' is inf"),
        ({"scores": {"happy": "0.5"}}, r"score of 'happy' is '0\.5'"),
        ({"scores": {"happy": True}}, r"score of 'happy' is True"),
        ({"scores": {"happy": None}}, r"score of 'happy' is None"),
        ({"scores": {"happy": 0}}, r"'scores' gives 'happy', the category .* nothing above 0"),
        ({"scores": {"shy": 0.5}}, r"'scores' gives 'happy', the category .* nothing above 0"),
        ({"box": [1, 2, 3]}, r"'box' must be 4 finite numbers, got \[1, 2, 3\]"),
        ({"box": [1, 2, 3, math.nan]}, r"'box' must be 4 finite numbers"),
        ({"landmarks": POINTS[:4]}, r"'landmarks' must be 5 points"),
        ({"landmarks": [[1, 2, 3]] * 5}, r"'landmarks' must be 2 finite numbers"),
        ({"landmarks": [[1, "x"]] * 5}, r"'landmarks' must be 2 finite numbers"),
        ({"landmarks": [[1, math.inf]] * 5}, r"'landmarks' must be 2 finite numbers"),
        ({"landmarks": [*POINTS[:4], None]}, r"'landmarks' must be 2 finite numbers"),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
def test_unusable_value_is_refused_with_its_line(write, row, change, match):
    with pytest.raises(UserError, match=r"annotations\.jsonl:1.*" + match):
        read_ffe(write(row | change))


def test_scores_come_in_the_order_of_the_expressions(write, row):
    row["scores"] = {name: round(0.05 * i, 2) for i, name in enumerate(EXPRESSIONS)}
    row["scores"] = dict(reversed(row["scores"].items()))
    (sample,) = read_ffe(write(row))
    assert sample.scores == tuple(round(0.05 * i, 2) for i in range(12))
