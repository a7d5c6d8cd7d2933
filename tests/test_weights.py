"""The table of weights names what the configs ask for, and errors quote it."""

import re
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from pixelsmile.data.cache import folder_fingerprint
from pixelsmile.errors import UserError
from pixelsmile.weights import WEIGHTS, how_to_get, known, need_weights, reading
from tests.tiny_random import compose

CHOICES = [
    ("model/encoder=clip_vit_l_14", "model/recogniser=arcface"),
    ("model/encoder=danbooru_clip", "model/recogniser=adaface"),
    ("model/encoder=danbooru_clip", "model/recogniser=facenet"),
]


def places(node):
    """Yield every path of weights in a config."""
    for key in node if isinstance(node, DictConfig) else range(len(node)):
        value = node[key]
        if OmegaConf.is_config(value):
            yield from places(value)
        elif isinstance(value, str) and value.startswith("/w w/"):
            yield value


@pytest.mark.parametrize("overrides", CHOICES)
def test_every_path_of_the_real_model_is_in_the_table(overrides):
    config = compose("name=x", "model=qwen_image_edit_2511", "paths.weights=/w w", *overrides)
    OmegaConf.resolve(config)
    found = set(places(config.model))
    assert len(found) > 5
    for place in found:
        row = known(place)
        assert row is not None, place
        assert row[1] == Path("/w w")


def test_table_is_complete_and_its_commands_put_files_where_the_configs_look():
    assert len({weight.place for weight in WEIGHTS}) == len(WEIGHTS)
    for weight in WEIGHTS:
        assert all((weight.name, weight.source, weight.licence, weight.use)), weight
        if not weight.commands:
            assert weight.name == "judge of validation"  # nobody publishes one
            continue
        assert re.search(r"https://\S+", weight.source), weight
        command = weight.command("/some where")
        assert "'/some where'" in command
        assert "{" not in command
        assert weight.place.split("/")[0] in command


@pytest.mark.parametrize("weight", WEIGHTS, ids=lambda weight: weight.place)
def test_missing_weights_name_file_source_and_command(weight, tmp_path):
    place = tmp_path / weight.place
    for refuse in (need_weights, folder_fingerprint):
        with pytest.raises(UserError) as caught:
            refuse(place)
        text = str(caught.value)
        assert str(place) in text
        assert weight.source in text
        assert weight.command(tmp_path) in text


def test_a_part_of_a_download_belongs_to_it(tmp_path):
    row, root = known(tmp_path / "Qwen-Image-Edit-2511" / "vae" / "config.json")
    assert (row.name, root) == ("Qwen-Image-Edit-2511", tmp_path)
    assert known(tmp_path / "elsewhere") is None
    assert "pixelsmile.doctor" in how_to_get(tmp_path / "elsewhere")


def test_empty_folder_is_missing(tmp_path):
    (tmp_path / "DanbooruCLIP" / "sub").mkdir(parents=True)
    with pytest.raises(UserError, match=r"No weights at .*DanbooruCLIP"):
        need_weights(tmp_path / "DanbooruCLIP")


def test_errors_of_libraries_become_one_sentence(tmp_path):
    with (
        pytest.raises(UserError, match=r"DanbooruCLIP cannot be read as a CLIP \(KeyError: 'a'\)"),
        reading(tmp_path / "DanbooruCLIP", "a CLIP"),
    ):
        raise KeyError("a")
    with pytest.raises(UserError, match=r"^mine$"), reading(tmp_path, "a CLIP"):
        raise UserError("mine")
    with pytest.raises(KeyboardInterrupt), reading(tmp_path, "a CLIP"):
        raise KeyboardInterrupt
