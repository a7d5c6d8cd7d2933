"""What is remembered of a file holds only while the file is what it was."""

import hashlib
import json
import os
import shutil
import time

import pytest

from pixelsmile.data import memory
from pixelsmile.data.memory import FileMemory, file_digest
from pixelsmile.errors import UserError


class Counting:
    """`file_digest`, with the files it was asked to read."""

    def __init__(self):
        self.read = []

    def __call__(self, path):
        self.read.append(path.name)
        return file_digest(path)


@pytest.fixture
def counting():
    return Counting()


@pytest.fixture
def remember(tmp_path, counting, monkeypatch):
    """A memory, as a new process would open it; files count as settled at once."""
    monkeypatch.setattr(memory, "SETTLED", -1.0)
    return lambda: FileMemory(counting, tmp_path / "index" / "digests.json")


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "a b ü.png"
    path.write_bytes(b"first")
    return path


def digest(data):
    return hashlib.sha256(data).hexdigest()


def test_file_is_read_once_and_recalled_by_later_processes(remember, image, counting):
    first = remember()
    assert first(image) == first(image) == digest(b"first")
    first.save()
    assert remember()(image) == digest(b"first")
    assert len(counting.read) == 1


def test_replaced_file_of_the_same_size_and_time_is_read_again(remember, image, counting):
    before = image.stat()
    first = remember()
    first(image)
    first.save()
    image.write_bytes(b"other")
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert image.stat().st_mtime_ns == before.st_mtime_ns
    assert first(image) == remember()(image) == digest(b"other")


def test_another_file_moved_to_the_same_place_is_read_again(remember, image, tmp_path):
    first = remember()
    first(image)
    twin = tmp_path / "twin"
    twin.write_bytes(b"other")
    shutil.copystat(image, twin)
    twin.replace(image)
    assert first(image) == digest(b"other")


def test_link_is_read_again_when_it_points_elsewhere(remember, image, tmp_path):
    other, link = tmp_path / "other", tmp_path / "link"
    other.write_bytes(b"other")
    link.symlink_to(image)
    known = remember()
    assert known(link) == digest(b"first")
    link.unlink()
    link.symlink_to(other)
    assert known(link) == digest(b"other")


def test_file_that_has_just_changed_is_not_remembered(tmp_path, image, counting):
    known = FileMemory(counting, tmp_path / "digests.json")
    known(image)
    known(image)
    assert len(counting.read) == 2
    old = time.time() - 60
    counting.read.clear()
    assert max(image.stat().st_mtime, image.stat().st_ctime) > old
    known.save()
    assert not (tmp_path / "digests.json").exists()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[1, 2]",
        b'{"a": 3}',
        b"null",
        b"[" * 100_000,
        b'{"%s": ["size", 0, 0, 0, "digest"]}',
    ],
)
def test_damaged_index_costs_reading_and_nothing_else(remember, image, counting, damage):
    first = remember()
    first(image)
    first.save()
    first.index.write_bytes(damage)
    again = remember()
    assert again(image) == digest(b"first")
    assert len(counting.read) == 2
    again.save()
    assert remember()(image) == digest(b"first")
    assert len(counting.read) == 2


def test_index_may_be_deleted_at_any_time(remember, image, counting):
    known = remember()
    known(image)
    known.save()
    known.index.unlink()
    assert remember()(image) == digest(b"first")
    assert len(counting.read) == 2


def test_two_processes_add_to_one_index(remember, image, tmp_path, counting):
    other = tmp_path / "b.png"
    other.write_bytes(b"b")
    one, two = remember(), remember()
    one(image), two(other)
    one.save(), two.save()
    third = remember()
    third(image), third(other)
    assert len(counting.read) == 2


def test_tidying_drops_what_is_gone_or_changed(remember, image, tmp_path):
    gone = tmp_path / "gone"
    gone.write_bytes(b"x")
    known = remember()
    known(image), known(gone)
    known.save()
    gone.unlink()
    known.tidy()
    assert list(json.loads(known.index.read_bytes())) == [str(image)]


def test_missing_image_is_named(remember, tmp_path):
    with pytest.raises(UserError, match=r"none\.png is missing: restore it"):
        remember()(tmp_path / "none.png")


def test_folder_in_place_of_an_image_is_named(remember, tmp_path):
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)"):
        remember()(tmp_path)
