"""Preparing encodes what is missing, once, and goes on where it was stopped."""

import pytest
import torch

from pixelsmile import prepare as prepare_module
from pixelsmile.conditioning import join_suffix
from pixelsmile.data.encoded import load_image, load_landmarks
from pixelsmile.data.ffe import read_ffe
from pixelsmile.data.samples import open_image
from pixelsmile.errors import UserError
from pixelsmile.expressions import prompt
from pixelsmile.models.autoencoder import Autoencoder
from pixelsmile.models.encoders import open_clip_encoder
from pixelsmile.models.recognisers import onnx_recogniser
from pixelsmile.models.text import PromptEncoder
from pixelsmile.prepare import prepare
from pixelsmile.stack import encoded_set
from tests.tiny_random import SETTINGS, compose, write_faces


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    train = write_faces(folder / "train", range(9000, 9001), strengths=(1.0,))
    val = write_faces(folder / "val", range(9001, 9003), strengths=(1.0,))
    return read_ffe(train), read_ffe(val)


def config_of(tiny_stack, cache, *overrides):
    return compose(
        "name=test", f"model.weights={tiny_stack}", f"paths.cache={cache}", *SETTINGS, *overrides
    )


@pytest.fixture(scope="module")
def prepared(tiny_stack, sets, tmp_path_factory):
    config = config_of(tiny_stack, tmp_path_factory.mktemp("cache"))
    return config, prepare(config, *sets)


def test_everything_that_training_and_validation_read_is_there(prepared, sets):
    _, encoded = prepared
    train, val = sets
    neutral = [sample for sample in (*train, *val) if sample.category == "neutral"]
    assert encoded.missing_images([*train, *neutral]) == []
    assert encoded.missing_prompts(neutral) == []
    others = [sample for sample in val if sample.category != "neutral"]
    assert len(encoded.missing_images(others)) == len(others)  # true renders are never encoded


@torch.no_grad()
def test_image_entries_are_what_the_models_say(prepared, sets, tiny_stack):
    _, encoded = prepared
    size = encoded.sizes.image
    sample = sets[0][7]
    entry = encoded.image(sample)
    autoencoder = Autoencoder.from_pretrained(tiny_stack / "pipeline" / "vae")
    latents = autoencoder.encode(load_image(sample, size)[None])
    decoded = autoencoder.decode(latents)
    landmarks = load_landmarks(sample, size)
    recogniser = onnx_recogniser(tiny_stack / "recognisers" / "arcface.onnx")
    expected = {
        "latents": latents[0],
        "feature": open_clip_encoder(tiny_stack / "clip", projected=True)(decoded)[0],
        "identity": recogniser(decoded, landmarks[None])[0],
        "landmarks": landmarks,
    }
    assert entry.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(entry[name], value, atol=1e-5, rtol=1e-4, msg=name)


def test_prompt_entries_rebuild_the_embeddings(prepared, sets, tiny_stack):
    _, encoded = prepared
    sample = sets[1][0]
    assert sample.category == "neutral"
    entry = encoded.prompts(sample)
    encoder = PromptEncoder.from_pretrained(tiny_stack / "pipeline", size=encoded.sizes.text)
    image = open_image(sample.image)
    words = [prompt(word, "human") for word in ("neutral", "angry", "anxious")]
    neutral, *expected = encoder(image, words)
    torch.testing.assert_close(entry["neutral"], neutral, atol=1e-5, rtol=1e-5)
    for row, value in zip((0, 11), expected, strict=True):
        rebuilt = join_suffix(entry["neutral"], entry["suffixes"][row])
        torch.testing.assert_close(rebuilt, value, atol=1e-5, rtol=1e-5)


def test_second_time_loads_no_model(prepared, sets, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("Nothing is missing, so no model is needed.")

    config, _ = prepared
    monkeypatch.setattr(prepare_module, "instantiate", refuse)
    prepare(config, *sets)


def test_stopped_run_goes_on_where_it_was(tiny_stack, sets, tmp_path, monkeypatch):
    config = config_of(tiny_stack, tmp_path)
    monkeypatch.setattr(prepare_module, "_BATCH", 4)
    encode, sizes = prepare_module.encode_images, []

    def stop_after_two(batch, *args):
        if len(sizes) == 2:
            raise KeyboardInterrupt
        sizes.append(len(batch))
        return encode(batch, *args)

    monkeypatch.setattr(prepare_module, "encode_images", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        prepare(config, *sets)
    encoded = encoded_set(config)
    neutral = [sample for sample in sets[1] if sample.category == "neutral"]
    wanted = len(sets[0]) + len(neutral)
    assert len(encoded.missing_images([*sets[0], *neutral])) == wanted - 8

    counted = []

    def count(batch, *args):
        counted.append(len(batch))
        return encode(batch, *args)

    monkeypatch.setattr(prepare_module, "encode_images", count)
    prepare(config, *sets)
    assert sum(counted) == wanted - 8


@pytest.mark.parametrize(
    ("override", "images", "prompts"),
    [
        ("model.sizes.image=32", True, False),
        ("model.sizes.text=84", False, True),
        ("model.text_encoder.stock_positions=false", False, True),
        ("model.recogniser.file=${model.weights}/recognisers/facenet.onnx", True, False),
        ("model.backbone.rank=3", False, False),
        ("loss=hinge", False, False),
    ],
)
def test_another_setting_encodes_anew_exactly_what_depends_on_it(
    prepared, sets, tiny_stack, override, images, prompts
):
    config, _ = prepared
    changed = encoded_set(config_of(tiny_stack, config.paths.cache, override))
    sources = [sample for sample in sets[0] if sample.category == "neutral"]
    assert bool(changed.missing_images(sets[0])) == images
    assert bool(changed.missing_prompts(sources)) == prompts


def test_broken_image_is_named(tiny_stack, tmp_path):
    path = write_faces(tmp_path / "set", range(9000, 9001), strengths=(1.0,))
    val = read_ffe(write_faces(tmp_path / "val", range(9001, 9002), strengths=(1.0,)))
    samples = read_ffe(path)
    samples[3].image.write_bytes(samples[3].image.read_bytes()[:60])
    with pytest.raises(UserError, match=rf"{samples[3].image.name} cannot be read"):
        prepare(config_of(tiny_stack, tmp_path / "cache"), samples, val)
