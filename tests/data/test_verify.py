"""Images are decoded once; verdicts follow the file, and processes change nothing."""

import os

import pytest

from pixelsmile.data import verify
from pixelsmile.data.verify import Verifier, num_workers, share_inside
from pixelsmile.errors import UserError
from tests.small_sets import picture


@pytest.fixture
def paths(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(40)]
    for i, path in enumerate(paths):
        picture(i, size=32).save(path)
    paths[7].write_bytes(paths[7].read_bytes()[:100])
    return paths


@pytest.fixture
def opened(monkeypatch):
    opened = []
    real = verify.open_image
    monkeypatch.setattr(verify, "open_image", lambda path: (opened.append(path), real(path))[1])
    return opened


def test_whole_images_have_a_size_and_broken_ones_a_reason(paths, tmp_path):
    verdicts = dict(Verifier(tmp_path / "cache", 1)(paths))
    assert list(verdicts) == paths
    for path, verdict in verdicts.items():
        if path == paths[7]:
            assert verdict.size is None
            assert "7.png cannot be read" in verdict.error
        else:
            assert verdict == ((32, 32), None)


def test_second_look_decodes_only_what_has_changed(paths, tmp_path, opened):
    verifier = Verifier(tmp_path / "cache", 1)
    first = dict(verifier(paths))
    opened.clear()
    assert dict(verifier(paths)) == first
    assert opened == []
    picture(99, size=48).save(paths[3])
    os.utime(paths[4], (1, 1))
    second = dict(verifier(paths))
    assert opened == [paths[3], paths[4]]
    assert second[paths[3]].size == (48, 48)


def test_stopping_half_way_keeps_what_was_decoded(paths, tmp_path, opened):
    verifier = Verifier(tmp_path / "cache", 1)
    looking = verifier(paths)
    for _ in range(20):
        next(looking)
    looking.close()
    done = len(opened)
    opened.clear()
    list(verifier(paths))
    assert len(opened) == len(paths) - done
    assert done >= 16


def test_verdicts_of_another_version_are_not_believed(paths, tmp_path, opened, monkeypatch):
    verifier = Verifier(tmp_path / "cache", 1)
    list(verifier(paths))
    opened.clear()
    monkeypatch.setattr(verify, "VERSION", verify.VERSION + 1)
    list(verifier(paths))
    assert opened == paths


@pytest.mark.parametrize(
    "content", ["", "{", '["a"]', "null", '{"a": 3}', '{"a": [1, 2, 3, 4, 5]}']
)
def test_damaged_ledger_is_begun_anew(paths, tmp_path, content):
    verifier = Verifier(tmp_path / "cache", 1)
    first = dict(verifier(paths))
    (tmp_path / "cache" / "verified.json").write_text(content)
    assert dict(verifier(paths)) == first


@pytest.mark.slow
def test_number_of_processes_does_not_matter(paths, tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "_WORTH_PROCESSES", 1)
    one = dict(Verifier(tmp_path / "one", 1)(paths))
    two = dict(Verifier(tmp_path / "two", 2)(paths))
    assert one == two


def test_share_of_a_box_inside_an_image():
    assert share_inside((0, 0, 10, 10), 10, 10) == 1
    assert share_inside((5, 5, 15, 15), 10, 10) == 0.25
    assert share_inside((20, 0, 30, 10), 10, 10) == 0


def test_workers_are_a_number_or_auto():
    assert num_workers("auto") >= 1
    assert num_workers(3) == 3
    for wrong in (0, -1, True, "two", 1.5):
        with pytest.raises(UserError, match=r"data\.workers="):
            num_workers(wrong)
