"""The release's triplet layout: read as it is, refused with its line where it cannot be used."""

import json

import numpy as np
import pytest
from PIL import Image

from pixelsmile.data.ffe_triplets import (
    read_triplet_faces,
    read_triplets,
    release_rescale,
    samples_of,
)
from pixelsmile.errors import UserError
from pixelsmile.expressions import NEUTRAL, index
from tests.small_sets import write_lines


@pytest.fixture
def row():
    return {
        "src": {"image": "ann/neutral.png", "boxes": [[1, 2, 3, 4], [5, 6, 7, 8]]},
        "dst": [
            {
                "image": "ann/fear.png",
                "category": "Fear",
                "scores": {"fear": 0.9, "surprised": 0.6},
            },
            {"image": "ann/surprised.png", "category": "surprise", "scores": {"Surprise": 0.8}},
        ],
    }


@pytest.fixture
def write(tmp_path):
    """Write rows beside three images."""
    (tmp_path / "ann").mkdir()
    for name in ("neutral", "fear", "surprised"):
        Image.new("RGB", (8, 8)).save(tmp_path / "ann" / f"{name}.png")

    def write(*rows):
        path = tmp_path / "triplets.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows))
        return path

    return write


def test_triplet_is_read_with_the_source_as_identity(write, row):
    ((source, first, second),) = read_triplets(write(row), domain="human")
    assert (source.category, source.box) == (NEUTRAL, (1, 2, 3, 4))
    assert {source.identity, first.identity, second.identity} == {"ann/neutral.png"}
    assert (first.category, second.category) == ("fear", "surprised")
    assert (first.scores[index("fear")], first.scores[index("surprised")]) == (0.9, 0.6)
    assert (first.box, second.domain) == (None, "human")


def sides(train, val):
    """Write a set for each side, with as many sources as are named, and read both."""
    files = {}
    for side, (folder, sources) in {"train": train, "val": val}.items():
        (folder / "images").mkdir(parents=True, exist_ok=True)
        rows = []
        for source in sources:
            targets = [
                {"image": f"images/{name}.png", "category": name, "scores": {name: 1.0}}
                for name in ("fear", "surprised")
            ]
            rows.append({"src": {"image": source}, "dst": targets})
            for image in (source, *(target["image"] for target in targets)):
                if not (folder / image).exists():
                    Image.new("RGB", (8, 8)).save(folder / image)
        files[side] = write_lines(folder / f"{side}.jsonl", rows)
    return read_triplet_faces(files, domain="human")


def test_two_sides_may_name_different_images_alike(tmp_path):
    sources = ["images/1.png", "images/2.png"]
    faces = sides((tmp_path / "train", sources), (tmp_path / "val", sources))
    people = [{sample.identity for sample in side} for side in (faces.train, faces.val)]
    assert people[0] == set(sources)
    assert people[1] == {(tmp_path / "val" / source).as_posix() for source in sources}


@pytest.mark.parametrize("spelling", ["images/../images/1.png", "./images/1.png", "images/l.png"])
def test_one_image_is_one_person_however_it_is_spelled(tmp_path, spelling):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "1.png")
    (tmp_path / "images" / "l.png").symlink_to(tmp_path / "images" / "1.png")
    with pytest.raises(UserError, match=r"share 1 identities \(images/1\.png\)"):
        sides((tmp_path, ["images/1.png"]), (tmp_path, [spelling, "images/2.png"]))
    faces = sides((tmp_path, ["images/1.png", spelling]), (tmp_path, ["images/2.png"]))
    assert {sample.identity for sample in faces.train} == {"images/1.png"}


def test_a_single_box_may_stand_without_its_list(write, row):
    row["src"]["boxes"] = [1, 2, 3, 4]
    ((source, _, _),) = read_triplets(write(row), domain="human")
    assert source.box == (1, 2, 3, 4)


def test_images_of_several_triplets_come_once(write, row):
    path = write(row, row)
    triplets = read_triplets(path, path, domain="anime")
    assert len(triplets) == 4
    assert len(samples_of(triplets)) == 3


def test_rescaling_changes_every_score(write, row):
    ((_, first, _),) = read_triplets(write(row), domain="human", rescale=release_rescale)
    assert first.scores[index("fear")] == pytest.approx(0.8)
    assert first.scores[index("surprised")] == pytest.approx(0.3)


def test_rescaling_of_the_release_is_continuous_and_increasing():
    curve = [release_rescale(x) for x in np.linspace(0, 1, 1001)]
    assert (curve[0], curve[-1]) == (0, 1)
    steps = np.diff(curve)
    assert (steps > 0).all()
    assert steps.max() < 3.01e-3


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"src": 3}, r"'src' is not a JSON object"),
        ({"src": {}}, r"'src' lacks the key 'image'"),
        ({"src": {"image": "none.png"}}, r"image .*none\.png is missing"),
        ({"src": {"image": "ann/neutral.png", "boxes": [1, 2]}}, r"'boxes' must be 4 finite"),
        ({"dst": []}, r"'dst' must be two objects"),
        ({"dst": [1, 2]}, r"'dst' is not a JSON object"),
        ({"dst": None}, r"'dst' must be two objects"),
    ],
    ids=str,
)
def test_unusable_line_is_refused_with_its_place(write, row, change, match):
    with pytest.raises(UserError, match=r"triplets\.jsonl:2.*" + match):
        read_triplets(write(row, row | change), domain="human")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"category": "smug"}, r"Unknown expression 'smug'"),
        ({"category": "neutral"}, r"a target shows 'neutral'"),
        ({"category": "surprised", "scores": {"surprised": 0.5}}, r"both targets show 'surprised'"),
        ({"scores": {"happy": 0.5}}, r"'scores' gives 'fear', the category .* nothing above 0"),
        ({"scores": {"fear": 0.0}}, r"'scores' gives 'fear', the category .* nothing above 0"),
        ({"scores": {"fear": 1.5}}, r"score of 'fear' is 1\.5"),
        ({"image": "b.png"}, r"image .*b\.png is missing"),
    ],
    ids=str,
)
def test_unusable_target_is_refused_with_its_place(write, row, change, match):
    row["dst"][0] |= change
    with pytest.raises(UserError, match=r"triplets\.jsonl:1.*" + match):
        read_triplets(write(row), domain="human")


def test_file_without_triplets_is_refused(write):
    with pytest.raises(UserError, match=r"set is empty: no triplet in .*triplets\.jsonl"):
        read_triplets(write(), domain="human")
