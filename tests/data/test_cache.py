"""Cache entries appear whole or not at all, and their keys follow what the numbers depend on."""

import errno
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pixelsmile.data.cache import TensorCache, content_key, folder_fingerprint
from pixelsmile.data.encoded import (
    EncodedSet,
    Sizes,
    image_key,
    load_image,
    load_landmarks,
    prompt_key,
)
from pixelsmile.data.samples import Sample
from pixelsmile.errors import UserError

SIZES = Sizes(image=64, text=56)
POINTS = ((8.0, 6.0), (24.0, 6.0), (16.0, 10.0), (10.0, 14.0), (22.0, 14.0))


@pytest.fixture
def cache(tmp_path):
    return TensorCache(tmp_path / "cache")


@pytest.fixture
def tensors(generator):
    return {
        "latents": torch.randn(2, 3, generator=generator),
        "index": torch.arange(3),
        "half": torch.randn(4, generator=generator).half(),
    }


@pytest.fixture
def sample(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return Sample(tmp_path / "a.png", "ann", "human", "happy", (0.5,) * 12, landmarks=POINTS)


# ---- entries --------------------------------------------------------------------------------


def test_entry_is_read_as_it_was_written(cache, tensors):
    assert "abc" not in cache
    cache.write("abc", tensors)
    assert "abc" in cache
    read = cache.read("abc")
    assert read.keys() == tensors.keys()
    for name, value in tensors.items():
        assert read[name].dtype == value.dtype
        assert torch.equal(read[name], value)


def test_views_are_stored_as_what_they_show(cache, generator):
    whole = torch.randn(3, 4, generator=generator)
    cache.write("abc", {"column": whole[:, 1], "turned": whole.T})
    read = cache.read("abc")
    assert torch.equal(read["column"], whole[:, 1])
    assert torch.equal(read["turned"], whole.T)


@pytest.mark.parametrize("damage", ["garbage", "torn", "empty"])
def test_damaged_entry_is_not_read(cache, tensors, damage):
    cache.write("abc", tensors)
    path = cache.path("abc")
    whole = path.read_bytes()
    path.write_bytes({"garbage": b"\xff" * 100, "torn": whole[:-5], "empty": b""}[damage])
    with pytest.raises(KeyError, match="cache entry abc is missing or damaged"):
        cache.read("abc")


def test_missing_entry_is_a_key_error(cache):
    with pytest.raises(KeyError, match="cache entry abc is missing"):
        cache.read("abc")


def test_full_disk_leaves_nothing_behind(cache, tensors, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        cache.write("abc", tensors)
    assert "abc" not in cache
    assert not [path for path in cache.folder.rglob("*") if path.is_file()]


def test_interrupted_rewrite_keeps_the_old_entry(cache, tensors, monkeypatch):
    cache.write("abc", tensors)

    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cache.write("abc", {"latents": torch.zeros(1)})
    assert torch.equal(cache.read("abc")["latents"], tensors["latents"])
    assert len([path for path in cache.folder.rglob("*") if path.is_file()]) == 1


# ---- keys -----------------------------------------------------------------------------------


def test_key_tells_parts_from_their_concatenation():
    assert content_key("ab", "c") != content_key("a", "bc")
    assert content_key(1) != content_key("1")
    assert content_key(1, 2) == content_key(1, 2)


def test_keys_change_with_the_bytes_of_the_image_but_not_with_its_place(sample, tmp_path):
    keys = [key(sample, SIZES, "f") for key in (image_key, prompt_key)]
    moved = tmp_path / "moved.png"
    moved.write_bytes(sample.image.read_bytes())
    assert keys == [
        key(replace(sample, image=moved), SIZES, "f") for key in (image_key, prompt_key)
    ]
    Image.new("RGB", (32, 16)).save(sample.image)
    changed = [key(sample, SIZES, "f") for key in (image_key, prompt_key)]
    assert all(old != new for old, new in zip(keys, changed, strict=True))


def test_each_key_follows_its_own_size_and_model(sample):
    image, text = image_key(sample, SIZES, "f"), prompt_key(sample, SIZES, "f")
    larger, finer = Sizes(image=128, text=56), Sizes(image=64, text=112)
    assert image_key(sample, larger, "f") != image
    assert image_key(sample, finer, "f") == image
    assert prompt_key(sample, finer, "f") != text
    assert prompt_key(sample, larger, "f") == text
    assert image_key(sample, SIZES, "g") != image
    assert prompt_key(sample, SIZES, "g") != text
    assert image != text


def test_keys_ignore_what_is_applied_at_training_time(sample):
    stronger = replace(sample, scores=(1.0,) * 12, category="sad", split="val")
    for key in (image_key, prompt_key):
        assert key(stronger, SIZES, "f") == key(sample, SIZES, "f")


def test_image_key_follows_the_landmarks_and_prompt_key_the_domain(sample):
    moved = replace(sample, landmarks=((9.0, 6.0), *POINTS[1:]))
    assert image_key(moved, SIZES, "f") != image_key(sample, SIZES, "f")
    assert prompt_key(moved, SIZES, "f") == prompt_key(sample, SIZES, "f")
    drawn = replace(sample, domain="anime")
    assert prompt_key(drawn, SIZES, "f") != prompt_key(sample, SIZES, "f")
    assert image_key(drawn, SIZES, "f") == image_key(sample, SIZES, "f")


def test_fingerprint_follows_names_and_contents_of_a_folder(tmp_path):
    folder = tmp_path / "weights"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"one")
    (folder / "deep" / "b.bin").write_bytes(b"two")
    first = folder_fingerprint(folder)
    assert folder_fingerprint(str(folder)) == first
    (folder / "deep" / "b.bin").write_bytes(b"twO")
    second = folder_fingerprint(folder)
    (folder / "a.bin").rename(folder / "c.bin")
    assert len({first, second, folder_fingerprint(folder)}) == 3


def test_fingerprint_of_a_single_file_follows_its_content(tmp_path):
    file = tmp_path / "a.onnx"
    file.write_bytes(b"one")
    first = folder_fingerprint(file)
    file.write_bytes(b"two")
    assert folder_fingerprint(file) != first


def test_missing_weights_have_no_fingerprint(tmp_path):
    with pytest.raises(UserError, match=r"No weights at .*none: check the paths"):
        folder_fingerprint(tmp_path / "none")


# ---- reading a set --------------------------------------------------------------------------


def test_set_lists_what_is_missing_once_and_reads_what_is_there(cache, sample, tensors):
    encoded = EncodedSet(cache, SIZES, "images", "prompts")
    ((key, found),) = encoded.missing_images([sample, sample])
    assert found == sample
    with pytest.raises(UserError, match=r"a\.png is not prepared .*pixelsmile\.prepare"):
        encoded.image(sample)
    cache.write(key, tensors)
    assert encoded.missing_images([sample]) == []
    assert torch.equal(encoded.image(sample)["latents"], tensors["latents"])
    assert len(encoded.missing_prompts([sample])) == 1


def test_image_is_read_in_minus_one_to_one(sample):
    pixels = torch.from_numpy(np.asarray(Image.open(sample.image)).copy()).permute(2, 0, 1)
    square = replace(sample, image=sample.image.with_name("square.png"))
    Image.open(sample.image).crop((0, 0, 16, 16)).save(square.image)
    expected = pixels[:, :, :16].float() / 127.5 - 1
    torch.testing.assert_close(load_image(square, 16), expected)
    assert load_image(square, 24).shape == (3, 24, 24)


def test_landmarks_follow_the_image_when_it_is_resized(sample):
    expected = torch.tensor(POINTS) * torch.tensor([64 / 32, 64 / 16])
    torch.testing.assert_close(load_landmarks(sample, 64), expected)


def test_image_without_landmarks_is_refused(sample):
    with pytest.raises(UserError, match=r"a\.png has no landmarks.*add 'landmarks'"):
        load_landmarks(replace(sample, landmarks=None), 64)
