"""The ceiling counts true images where they exist, and nothing where they do not."""

from dataclasses import replace

import pytest
import torch

from pixelsmile.ceiling import measure_ceiling, true_renders
from pixelsmile.data.ffe import read_ffe
from pixelsmile.data.images import Sizes
from pixelsmile.expressions import EXPRESSIONS
from tests.small_sets import write_ffe

SIZES = Sizes(image=16, text=16)


class Scorer:
    """Says the same of every image: expressions evenly, identities by landmarks alone."""

    def expressions(self, images):
        levels = torch.linspace(0.1, 0.5, len(images))[:, None]
        return levels.expand(-1, 12)

    def identities(self, images, landmarks):
        return landmarks.flatten(1).expand(2, -1, -1)


class Encoded:
    sizes = SIZES

    def landmarks(self, sample):
        assert sample.category == "neutral"  # only sources are prepared
        return torch.ones(5, 2)


@pytest.fixture
def samples(tmp_path):
    write_ffe(tmp_path, range(2), shown=("neutral", *EXPRESSIONS))
    return read_ffe(tmp_path)


def counted(samples):
    measured = measure_ceiling(samples, Encoded(), Scorer())
    return {name: found["n"] for name, found in measured.items()}


def test_every_true_image_of_whole_sets_counts(samples):
    assert counted(samples) == {
        "mscr": 8,
        "acc_6": 12,
        "acc_12": 24,
        "cls_6": 12,
        "cls_12": 24,
        "hes": 24,
        "id_sim": 24,
    }


def test_people_count_with_the_expressions_that_they_have(samples):
    some = [s for s in samples if s.identity == "p0" or s.category in ("neutral", "fear", "shy")]
    assert counted(some)["acc_12"] == 12 + 2
    assert counted(some)["acc_6"] == 6 + 1


def test_curves_may_differ_in_length(samples):
    weaker = replace(samples[1], scores=tuple(0.5 * score for score in samples[1].scores))
    assert counted([*samples, weaker])["acc_12"] == 24
    assert counted([*samples, weaker])["id_sim"] == 25


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_sources_alone_and_images_of_no_strength_count_nothing(samples):
    sources = [s for s in samples if s.category == "neutral"]
    assert set(counted(sources).values()) == {0}
    still = replace(samples[1], scores=(0.0,) * 12)
    assert set(counted([*sources, still]).values()) == {0}


def test_true_renders_need_every_expression(samples):
    renders = true_renders(samples, 1, SIZES)
    assert renders.shape == (12, 3, 16, 16)
    fear = samples.index(next(s for s in samples if s.category == "fear" and s.identity == "p1"))
    assert true_renders([*samples[:fear], *samples[fear + 1 :]], 1, SIZES) is None
