"""Numbers from before a training hold as long as what they depend on."""

from dataclasses import replace

import pytest
from PIL import Image

from pixelsmile.baseline import before_key, ceiling_key, known
from pixelsmile.data.ffe import read_ffe
from pixelsmile.stack import encoded_set
from tests.tiny_random import SETTINGS, compose, write_faces

ROW = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 4}


@pytest.fixture(scope="module")
def keys_of(tiny_stack, tmp_path_factory):
    """Return both keys of a training with some overrides, on people or others in their place."""
    folder = tmp_path_factory.mktemp("keys")
    people = read_ffe(write_faces(folder / "val", range(9000, 9001), strengths=(1.0,)))

    def call(*words, val=people):
        config = compose(
            f"model.weights={tiny_stack}", *SETTINGS, f"paths.cache={folder / 'cache'}", *words
        )
        encoded = encoded_set(config)
        return before_key(config, val, encoded), ceiling_key(config, val, encoded)

    return people, call


def test_other_numbers_than_those_asked_for_are_measured_anew(tmp_path):
    done = []

    def measure():
        done.append(len(done))
        return {"mscr": ROW | {"n": len(done)}}

    path = tmp_path / "before.json"
    assert [known(path, key, measure)["mscr"]["n"] for key in ("a", "a", "b", "b", "a")] == [
        1,
        1,
        2,
        2,
        3,
    ]


@pytest.mark.parametrize("content", ["", "[1]", '{"mscr": {"value": 0.5}}', '{"key": "b"}'])
def test_files_of_another_kind_are_measured_anew(tmp_path, content):
    path = tmp_path / "before.json"
    path.write_text(content)
    assert known(path, "a", lambda: {"mscr": ROW}) == {"mscr": ROW}


@pytest.mark.parametrize(
    "words",
    [
        ["loss=hinge", "loss.identity_weight=null"],
        ["trainer.max_steps=7", "model.optimizer.lr=1"],
        ["model.backbone.rank=4", "model.backbone.alpha=8"],
        ["model.detector={_target_:pixelsmile.models.detectors.BoxTemplate,whole_image:true}"],
        ["data=mead", "data.root=mead", "data.resize=direct", "data.frames=1"],
    ],
    ids=lambda words: words[0],
)
def test_numbers_hold_for_other_ways_to_train_and_other_training_data(keys_of, words):
    _, keys = keys_of
    assert keys(*words) == keys()


@pytest.mark.parametrize(
    ("words", "scored_alike"),
    [
        (["seed=1"], True),
        (["model.num_steps=3"], True),
        (["model.strengths=[0.0,0.5,1.0]"], True),
        (["trainer.precision=bf16-true"], True),
        (["model.backbone.dtype=bfloat16"], True),
        (["model.sizes.image=96"], False),
        (["data.resize=padding"], False),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_edits_of_the_base_depend_on_settings_that_true_images_do_not_have(
    keys_of, words, scored_alike
):
    _, keys = keys_of
    (before, ceiling), (other, other_ceiling) = keys(), keys(*words)
    assert other != before
    assert (other_ceiling == ceiling) == scored_alike


def test_numbers_are_of_these_people_and_pictures(keys_of, tmp_path):
    people, keys = keys_of
    first = keys()
    scores = [replace(s, scores=tuple(x / 2 for x in s.scores)) for s in people]
    assert keys(val=scores)[0] == first[0]  # edits ask for every expression, whatever is annotated
    assert keys(val=scores)[1] != first[1]
    Image.open(people[0].image).rotate(180).save(tmp_path / "other.png")
    pictures = [replace(s, image=tmp_path / "other.png") for s in people]
    assert all(a != b for a, b in zip(keys(val=pictures), first, strict=True))
