"""Missing weights are said before anything is prepared, and known ones by their content."""

import shutil

import pytest
from omegaconf import OmegaConf

from pixelsmile.errors import UserError
from pixelsmile.needed import identified, need_all
from pixelsmile.stack import check_parts
from tests.tiny_random import SETTINGS, compose

REAL = ("name=x", "model=qwen_image_edit_2511", "data=ffe", "data.files.train=a.jsonl")


@pytest.mark.parametrize(
    "key",
    [
        "backbone.folder",
        "encoder.folder",
        "recogniser.file",
        "scorer.judge.folder",
        "noise_levels.pretrained_model_name_or_path",
        "autoencoder.folder",
        "text_encoder.folder",
    ],
)
def test_every_part_of_a_training_is_missed_before_it_begins(tiny_stack, tmp_path, key):
    config = compose(f"model.weights={tiny_stack}", *SETTINGS, f"model.{key}={tmp_path / 'gone'}")
    with pytest.raises(UserError, match=r"No weights at .*gone"):
        check_parts(config)


def test_every_recogniser_of_the_scorer_is_missed(tiny_stack, tmp_path):
    config = compose(f"model.weights={tiny_stack}", *SETTINGS)
    check_parts(config)
    config.model.scorer.recognisers[2].file = str(tmp_path / "gone.onnx")
    with pytest.raises(UserError, match=r"No weights at .*gone\.onnx"):
        check_parts(config)
    config.model.scorer = None
    check_parts(config)


def test_missing_judge_says_that_a_training_can_do_without(tmp_path):
    config = compose(*REAL, f"paths.weights='{tmp_path}'")
    places = ["Qwen-Image-Edit-2511/transformer", "Qwen-Image-Edit-2511/vae", "antelopev2"]
    for place in (*places, "Qwen-Image-Edit-2511/scheduler", "clip-vit-l-14", "adaface", "facenet"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "weights").write_bytes(b"x")
    for file in (config.model.encoder.folder, config.model.recogniser.file):
        open(file, "wb").close()
    with pytest.raises(UserError, match=r"No weights at .*judge: .*or say model\.scorer=null"):
        need_all(config)


def test_weights_folder_of_the_real_model_has_to_be_given():
    with pytest.raises(UserError, match=r"paths\.weights is not given: say paths\.weights=<folder"):
        need_all(compose(*REAL))


def test_settings_of_a_loss_are_refused_in_its_own_words(tiny_stack):
    words = (f"model.weights={tiny_stack}", *SETTINGS, "loss.identity.max_sigma=2")
    with pytest.raises(UserError, match=r"^max_sigma is 2: choose a noise level"):
        check_parts(compose(*words))


def test_weights_count_by_their_content_wherever_they_lie(tiny_stack, tmp_path):
    def settings(folder, kind="judge"):
        parts = [{"_target_": kind, "folder": str(folder)}]
        return identified(OmegaConf.create({"parts": parts}))

    moved = tmp_path / "moved"
    shutil.copytree(tiny_stack / "judge", moved)
    first = settings(tiny_stack / "judge")
    assert settings(moved) == first
    assert settings(moved, "other") != first
    with (moved / "config.json").open("a") as file:
        file.write(" ")
    assert settings(moved) != first
    assert identified(None) is None
