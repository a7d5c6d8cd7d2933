"""Cache entries appear whole or not at all, and their keys follow what the numbers depend on."""

import errno
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from pixelsmile.data.cache import TensorCache, content_key, folder_fingerprint
from pixelsmile.data.crops import Resize
from pixelsmile.data.encoded import (
    VERSIONS,
    EncodedSet,
    face_key,
    image_key,
    prompt_key,
)
from pixelsmile.data.images import Sizes, load_image, load_landmarks
from pixelsmile.data.samples import Sample
from pixelsmile.errors import UserError
from pixelsmile.expressions import SUBJECTS

KEYS = (image_key, face_key, prompt_key)
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


DAMAGES = {
    "garbage": lambda whole: b"\xff" * 100,
    "torn": lambda whole: whole[:-5],
    "header alone": lambda whole: whole[:20],
    "empty": lambda whole: b"",
    "zeroes at the end": lambda whole: whole[:-8] + bytes(8),
    "longer": lambda whole: whole + b"x",
    "another name": lambda whole: whole.replace(b"latents", b"latentz"),
    "of another writer": lambda whole: save({"latents": torch.zeros(2)}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_entry_counts_as_missing(cache, tensors, damage):
    cache.write("abc", tensors)
    path = cache.path("abc")
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert "abc" not in cache
    with pytest.raises(KeyError, match="cache entry abc is missing or damaged"):
        cache.read("abc")


def test_every_single_flipped_bit_is_noticed(cache):
    cache.write("abc", {"latents": torch.arange(2.0)})
    path = cache.path("abc")
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(KeyError):
            cache.read("abc")


def test_damage_that_leaves_no_trace_in_the_file_system_is_repaired_after_a_read(cache, tensors):
    cache.write("abc", tensors)
    path = cache.path("abc")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    cache._checked.note(path, "whole")  # as if neither size nor times had changed
    assert "abc" in cache
    with pytest.raises(KeyError, match="wrong checksum"):
        cache.read("abc")
    assert "abc" not in cache


def test_same_tensors_make_the_same_bytes(cache, tensors):
    cache.write("abc", tensors)
    first = cache.path("abc").read_bytes()
    cache.write("abc", dict(reversed(tensors.items())))
    assert cache.path("abc").read_bytes() == first


def test_whole_entry_is_read_once_to_see_that_it_is(cache, tensors, monkeypatch):
    cache.write("abc", tensors)
    cache.remember()
    later = TensorCache(cache.folder)
    monkeypatch.setattr(later._checked, "answer", None)  # calling it would fail
    assert "abc" in later


# ---- writers and removers -------------------------------------------------------------------


def test_pieces_of_killed_writers_are_removed_by_the_next_one_alone(cache, tensors):
    cache.write("abc", tensors)
    piece = cache.path("abc").with_name(".abc.safetensors.12345678")
    piece.write_bytes(b"torn")
    foreign = cache.folder / "frames" / ".begun"  # of someone else in the same folder
    foreign.parent.mkdir()
    foreign.write_bytes(b"")
    with cache.in_use():
        assert not piece.exists()
        piece.write_bytes(b"begun by this writer")
        with TensorCache(cache.folder).in_use():
            assert piece.exists()
    assert "abc" in cache
    assert foreign.exists()


def test_nothing_is_removed_while_entries_are_added(cache):
    other = TensorCache(cache.folder)
    with cache.in_use(), pytest.raises(UserError, match=r"is in use by .*: wait"), other.unused():
        pass
    with other.unused():
        pass


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
    keys = [key(sample, SIZES, "f") for key in KEYS]
    moved = tmp_path / "moved.png"
    moved.write_bytes(sample.image.read_bytes())
    assert keys == [key(replace(sample, image=moved), SIZES, "f") for key in KEYS]
    Image.new("RGB", (32, 16)).save(sample.image)
    changed = [key(sample, SIZES, "f") for key in KEYS]
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


def test_keys_follow_the_crop_as_far_as_it_moves_pixels(sample):
    other = replace(sample, crop_box=(1.0, 2.0, 30.0, 15.0))
    direct, lifted = Sizes(64, 56), Sizes(64, 56, resize=Resize("direct", 0.2))
    crop, higher = (Sizes(64, 56, resize=Resize("crop", bias)) for bias in (0.5, 0.2))
    for key in KEYS:
        assert key(sample, direct, "f") == key(sample, lifted, "f") == key(other, direct, "f")
        cropped = {key(s, sizes, "f") for s in (sample, other) for sizes in (crop, higher)}
        padded = key(sample, Sizes(64, 56, resize=Resize("padding")), "f")
        assert len(cropped | {padded, key(sample, direct, "f")}) == 6


def test_keys_ignore_what_is_applied_at_training_time(sample):
    stronger = replace(sample, scores=(1.0,) * 12, category="sad", split="val")
    for key in KEYS:
        assert key(stronger, SIZES, "f") == key(sample, SIZES, "f")


def test_face_key_follows_the_landmarks_and_prompt_key_the_domain(sample):
    moved = replace(sample, landmarks=((9.0, 6.0), *POINTS[1:]))
    assert face_key(moved, SIZES, "f") != face_key(sample, SIZES, "f")
    for key in (image_key, prompt_key):
        assert key(moved, SIZES, "f") == key(sample, SIZES, "f")
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


def test_fingerprint_does_not_follow_what_a_download_notes_about_itself(tmp_path):
    """The weights may lie in somebody's ~/.cache all the same."""
    folder = tmp_path / ".cache" / "weights"
    (folder / ".cache" / "huggingface").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"one")
    first = folder_fingerprint(folder)
    (folder / ".cache" / "huggingface" / "a.bin.metadata").write_text("time of the download")
    assert folder_fingerprint(folder) == first
    (folder / "a.bin").write_bytes(b"two")
    assert folder_fingerprint(folder) != first


def test_fingerprint_of_a_single_file_follows_its_content(tmp_path):
    file = tmp_path / "a.onnx"
    file.write_bytes(b"one")
    first = folder_fingerprint(file)
    file.write_bytes(b"two")
    assert folder_fingerprint(file) != first


def test_missing_weights_have_no_fingerprint(tmp_path):
    with pytest.raises(UserError, match=r"No weights at .*none: check the paths"):
        folder_fingerprint(tmp_path / "none")


class Finder:
    def __init__(self, identity):
        self.identity = identity


def test_face_key_follows_box_and_detector_only_where_points_have_to_be_found(sample):
    box = (1.0, 2.0, 30.0, 15.0)
    for given, changes in ((sample, False), (replace(sample, landmarks=None), True)):
        key = face_key(given, SIZES, "f", Finder("a"))
        assert (face_key(given, SIZES, "f", Finder("b")) != key) == changes
        assert (face_key(replace(given, box=box), SIZES, "f", Finder("a")) != key) == changes


def test_prompt_key_follows_every_word_of_every_prompt(sample, monkeypatch):
    keys = [key(sample, SIZES, "f") for key in KEYS]
    monkeypatch.setitem(SUBJECTS, "human", "woman")
    image, face, prompts = (key(sample, SIZES, "f") for key in KEYS)
    assert [image, face] == keys[:2]
    assert prompts != keys[2]


@pytest.mark.parametrize("kind", ["image", "face", "prompts"])
def test_each_key_follows_the_version_of_its_own_encoding(sample, monkeypatch, kind):
    before = {name: key(sample, SIZES, "f") for name, key in zip(VERSIONS, KEYS, strict=True)}
    monkeypatch.setitem(VERSIONS, kind, VERSIONS[kind] + 1)
    after = {name: key(sample, SIZES, "f") for name, key in zip(VERSIONS, KEYS, strict=True)}
    assert {name for name in before if before[name] != after[name]} == {kind}


def test_processes_take_turns(cache):
    """Locks belong to open files, so a thread stands for a process."""
    happened = []

    def second():
        with TensorCache(cache.folder).in_turn():
            happened.append("second")

    with cache.in_turn():
        other = threading.Thread(target=second)
        other.start()
        other.join(0.2)
        happened.append("first")
    other.join()
    assert happened == ["first", "second"]


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
