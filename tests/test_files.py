"""A file is there whole or not at all, and so is a checkpoint."""

import errno
import os

import pytest
import torch

from pixelsmile.checkpoints import WholeCheckpointIO
from pixelsmile.files import whole_file


@pytest.fixture
def full_disk(monkeypatch):
    """Let every flush to the disk fail as on a full one."""

    def fail(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)


def test_file_and_its_folders_appear(tmp_path):
    path = tmp_path / "a" / "b.txt"
    with whole_file(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_file_may_be_read_by_whoever_may_read_others_of_this_user(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with whole_file(tmp_path / "whole"):
        pass
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_whatever_stops_the_writing_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def stopped():
        with whole_file(path) as file:
            file.write(b"ne")
            raise error

    with pytest.raises(error):
        stopped()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("full_disk")
def test_full_disk_names_the_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match="No space left") as caught, whole_file(path) as file:
        file.write(b"new")
    assert caught.value.filename == str(path)
    assert not list(tmp_path.iterdir())


def test_full_disk_leaves_the_last_good_checkpoint(tmp_path, request):
    path = tmp_path / "last.ckpt"
    writer = WholeCheckpointIO()
    writer.save_checkpoint({"step": torch.tensor(1)}, path)
    request.getfixturevalue("full_disk")
    with pytest.raises(OSError, match="No space left"):
        writer.save_checkpoint({"step": torch.tensor(2)}, path)
    assert torch.load(path, weights_only=True) == {"step": torch.tensor(1)}
    assert list(tmp_path.iterdir()) == [path]
