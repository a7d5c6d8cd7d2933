"""Rendered sets: what the plans ask for, and that a set is drawn once and whole."""

from collections import Counter

import numpy as np
import pytest

from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.faces.scores import scores
from pixelsmile.faces.tiny.renders import (
    base_plan,
    join,
    judge_plan,
    render_set,
    split_identities,
)
from tests.faces.fakes import FakeFaces


@pytest.mark.parametrize(("plan", "count"), [(base_plan, 7), (judge_plan, 9)])
def test_every_expression_is_the_first_of_a_mix_equally_often_in_a_dozen_seeds(plan, count):
    firsts = Counter(next(iter(mix)) for seed in range(1200, 1236) for mix in plan(seed)[1:])
    assert firsts == dict.fromkeys(EXPRESSIONS, 3 * count)


def test_plans_start_neutral_and_half_of_the_strengths_are_full():
    plans = [base_plan(seed) for seed in range(1000, 1240)]
    assert all(plan[0] == {} for plan in plans)
    strengths = np.array([max(mix.values()) for plan in plans for mix in plan[1:]])
    assert 0.45 < (strengths == 1).mean() < 0.55
    assert strengths.min() >= 0.25


def test_some_15_percent_of_the_judges_images_are_mixes():
    mixes = [mix for seed in range(3000, 3240) for mix in judge_plan(seed)[1:]]
    assert {len(mix) for mix in mixes} == {1, 2}
    assert 0.12 < np.mean([len(mix) == 2 for mix in mixes]) < 0.18


def test_labels_are_the_exact_ones_of_each_image(tmp_path):
    faces = FakeFaces()
    images, labels = render_set(faces, range(3000, 3003), judge_plan, tmp_path / "set", workers=1)
    assert len(images) == len(labels) == 30
    assert labels.identity.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    for row, mix in enumerate(mix for seed in range(3000, 3003) for mix in judge_plan(seed)):
        seed = labels.seed[row]
        assert (images[row] == faces.render(int(seed), mix).image).all()
        np.testing.assert_allclose(labels.scores[row], scores(mix), atol=1e-6)
        assert labels.mixed[row] == (len(mix) == 2)
        if not mix:
            assert labels.category[row] == -1
            assert labels.strength[row] == 0
        else:
            assert mix[EXPRESSIONS[labels.category[row]]] == max(mix.values())


def test_a_set_on_disk_is_opened_and_not_drawn_again(tmp_path):
    first, _ = render_set(FakeFaces(), range(1000, 1002), base_plan, tmp_path / "set", workers=1)
    again = FakeFaces()
    second, _ = render_set(again, range(1000, 1002), base_plan, tmp_path / "set", workers=1)
    assert (np.asarray(first) == second).all()
    assert again.drawn == 2  # the probe only
    assert {file.name for file in tmp_path.iterdir()} == {"set.npy", "set.npz"}


@pytest.mark.parametrize(
    ("seeds", "domain"), [(range(1000, 1003), "human"), (range(1000, 1002), "anime")]
)
def test_other_seeds_or_other_drawings_are_rendered_anew(tmp_path, seeds, domain):
    render_set(FakeFaces(), range(1000, 1002), base_plan, tmp_path / "set", workers=1)
    faces = FakeFaces(domain)
    images, labels = render_set(faces, seeds, base_plan, tmp_path / "set", workers=1)
    assert faces.drawn == 2 + 8 * len(seeds)
    assert len(images) == len(labels) == 8 * len(seeds)


def test_an_interrupted_set_continues_after_its_last_whole_chunk(tmp_path):
    class Fails(FakeFaces):
        def render(self, seed, mix, *, size=128):
            if seed == 1030:
                raise KeyboardInterrupt
            return super().render(seed, mix, size=size)

    seeds = range(1000, 1040)
    with pytest.raises(KeyboardInterrupt):
        render_set(Fails(), seeds, base_plan, tmp_path / "set", workers=1)
    faces = FakeFaces()
    images, _ = render_set(faces, seeds, base_plan, tmp_path / "set", workers=1)
    assert len(images) == 320
    assert faces.drawn == 2 + 20 * 8


@pytest.mark.slow
def test_two_workers_give_the_same_set_as_one(tmp_path):
    seeds = range(1000, 1045)
    one, labels_one = render_set(FakeFaces(), seeds, base_plan, tmp_path / "one", workers=1)
    two, labels_two = render_set(FakeFaces(), seeds, base_plan, tmp_path / "two", workers=2)
    assert (np.asarray(one) == two).all()
    assert (labels_one.seed == labels_two.seed).all()


def test_joined_sets_keep_identities_apart_and_splits_share_none(tmp_path):
    sets = [
        render_set(FakeFaces(domain), range(1000, 1010), base_plan, tmp_path / domain, workers=1)
        for domain in ("human", "anime")
    ]
    images, labels = join(sets)
    assert len(images) == len(labels) == 160
    assert len(np.unique(labels.identity)) == 20
    train, held_out = split_identities(labels, 0.2)
    assert len(train) + len(held_out) == 160
    assert not set(labels.identity[train]) & set(labels.identity[held_out])
    assert np.bincount(labels.domain[held_out]).tolist() == [16, 16]
