"""Pairs are mined and triplets matched as a hand count says; unusable sets are refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelsmile.data.samples import Sample, check_disjoint, neutral_of, open_image
from pixelsmile.data.triplets import build_triplets, mean_soft_labels, mine_pairs
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, index

PAIR = ("fear", "surprised")


def face(category, strength=0.0, *, identity="ann", **others):
    """A sample whose scores are named; the image does not exist."""
    scores = [0.0] * 12
    if category != "neutral":
        scores[index(category)] = strength
    for name, value in others.items():
        scores[index(name)] = value
    name = f"{identity}-{category}-{strength}.png"
    return Sample(Path(name), identity, "human", category, tuple(scores))


def test_soft_labels_are_means_over_the_images_of_an_expression():
    samples = [
        face("neutral"),
        face("sad", 1.0, sleepy=0.2),
        face("sad", 0.5, sleepy=0.6, shy=0.1),
        face("shy", 0.8),
    ]
    expected = np.zeros((12, 12))
    expected[index("sad"), [index(n) for n in ("sad", "sleepy", "shy")]] = 0.75, 0.4, 0.05
    expected[index("shy"), index("shy")] = 0.8
    np.testing.assert_allclose(mean_soft_labels(samples), expected)


def test_mined_pairs_are_the_nearest_neighbours_and_the_two_of_the_paper():
    samples = [
        face("happy", 1.0, confident=0.4, shy=0.3),
        face("shy", 1.0, happy=0.5, anxious=0.2),
        face("sad", 1.0),  # confused with nothing
        face("neutral", confused=0.9),  # no expression: counts for nothing
    ]
    assert mine_pairs(samples) == [
        ("angry", "disgust"),
        ("confident", "happy"),
        ("fear", "surprised"),
        ("happy", "shy"),
    ]


def test_more_neighbours_give_more_pairs():
    samples = [face("happy", 1.0, confident=0.4, shy=0.3, surprised=0.1)]
    found = set(mine_pairs(samples, per_expression=2)) - set(mine_pairs(samples))
    assert found == {("happy", "shy")}


def test_pair_confused_in_both_directions_comes_once():
    samples = [face("fear", 1.0, surprised=0.5), face("surprised", 1.0, fear=0.5)]
    assert mine_pairs(samples) == [("angry", "disgust"), ("fear", "surprised")]


def test_triplets_match_as_many_images_by_rank_of_strength():
    weak, medium, strong = (face("fear", s) for s in (0.2, 0.5, 0.9))
    low, middle, high = (face("surprised", s) for s in (0.8, 0.9, 1.0))
    neutral = face("neutral")
    triplets = build_triplets([strong, high, neutral, weak, low, medium, middle], [PAIR])
    assert triplets == [(neutral, weak, low), (neutral, medium, middle), (neutral, strong, high)]


def test_no_image_is_lost_where_one_side_has_more():
    fear = [face("fear", s) for s in (0.2, 0.4, 0.6, 0.8, 1.0)]
    surprised = [face("surprised", s) for s in (0.8, 0.9, 1.0)]
    neutral = face("neutral")
    triplets = build_triplets([neutral, *fear, *surprised], [PAIR])
    first, second, third = surprised
    met = zip(fear, (first, first, first, second, third), strict=True)
    assert triplets == [(neutral, a, b) for a, b in met]
    turned = build_triplets([neutral, *fear, *surprised], [PAIR[::-1]])
    assert [(t.target_b, t.target_a) for t in turned] == [t[1:] for t in triplets]


def test_triplets_never_mix_identities():
    samples = [
        face(category, 1.0, identity=name)
        for category in ("surprised", "neutral", "fear", "sad")
        for name in ("ann", "bea")
    ]
    triplets = build_triplets(samples, [PAIR])
    assert [{sample.identity for sample in triplet} for triplet in triplets] == [{"ann"}, {"bea"}]
    assert {(t.source.category, t.target_a.category, t.target_b.category) for t in triplets} == {
        ("neutral", "fear", "surprised")
    }


def test_every_pair_gives_its_own_triplets():
    samples = [face("neutral"), *(face(name, 1.0) for name in EXPRESSIONS)]
    pairs = [PAIR, ("angry", "disgust"), ("happy", "shy")]
    triplets = build_triplets(samples, pairs)
    assert [(t.target_a.category, t.target_b.category) for t in triplets] == pairs


# ---- refusals -------------------------------------------------------------------------------


def test_empty_training_set_is_refused():
    with pytest.raises(UserError, match=r"training set is empty: check data\.files"):
        build_triplets([], [PAIR])


def test_identity_without_neutral_image_is_refused():
    samples = [face("fear", 1.0, identity="bea"), face("surprised", 1.0, identity="bea")]
    with pytest.raises(UserError, match=r"'bea' has no image of category 'neutral' among its 2"):
        build_triplets(samples, [PAIR])
    with pytest.raises(UserError, match=r"'bea'.*source of every edit"):
        neutral_of("bea", samples)


def test_identity_without_both_sides_of_a_pair_is_refused():
    samples = [face("neutral"), face("fear", 1.0), face("angry", 1.0)]
    match = r"'ann' has no pair to contrast: it shows \['angry', 'fear'\].*\('fear', 'surprised'\)"
    with pytest.raises(UserError, match=match):
        build_triplets(samples, [PAIR])


def test_sets_that_share_identities_are_refused():
    ann, bea = face("neutral"), face("neutral", identity="bea")
    check_disjoint([ann], [bea])
    with pytest.raises(UserError, match=r"share 1 identities \(bea\)"):
        check_disjoint([ann, bea], [bea])


@pytest.fixture
def noise():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_truncated_image_is_refused(tmp_path, noise):
    whole = tmp_path / "whole.png"
    noise.save(whole)
    torn = tmp_path / "torn.png"
    torn.write_bytes(whole.read_bytes()[:-600])
    with pytest.raises(UserError, match=r"torn\.png cannot be read \(.*truncated"):
        open_image(torn)


def test_file_that_is_no_image_or_not_there_is_refused(tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(UserError, match=r"text\.png cannot be read .*replace it"):
        open_image(tmp_path / "text.png")
    with pytest.raises(UserError, match=r"none\.png is missing: restore it"):
        open_image(tmp_path / "none.png")


def test_any_image_is_read_as_rgb(tmp_path, noise):
    noise.convert("L").save(tmp_path / "grey.png")
    grey = open_image(tmp_path / "grey.png")
    assert grey.mode == "RGB"
    assert (np.asarray(grey) == np.asarray(noise.convert("L"))[..., None]).all()
