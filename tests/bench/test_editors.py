import shutil
from dataclasses import replace

import pytest
from PIL import Image

from pixelsmile.bench.editors import FolderEditor, Unreadable, pattern_expression
from pixelsmile.bench.tasks import read_tasks
from pixelsmile.errors import UserError
from tests.bench import tables

PATTERN = "{id}_{expression}_{strength}.png"


@pytest.fixture
def tasks(tmp_path):
    return read_tasks(tables.write_tasks(tmp_path / "in", ["happy", "fear"]), domain="human")


@pytest.fixture
def edits(tmp_path, tasks):
    tables.write_edits(tmp_path / "out", tasks)
    return tmp_path / "out"


def read(folder, tasks, strengths=(0.0, 0.5, 1.0), pattern=PATTERN):
    editor = FolderEditor(None, folder=folder, pattern=pattern)
    return editor, [editor.edits(task, strengths, 0) for task in tasks]


def test_files_are_found_by_id_expression_and_strength_and_kept_byte_for_byte(edits, tasks):
    _, found = read(edits, tasks)
    for task, made in zip(tasks, found, strict=True):
        for strength, data in zip((0.0, 0.5, 1.0), made, strict=True):
            file = edits / f"{task.id}_{task.expression}_{strength:.2f}.png"
            assert data == file.read_bytes()


def test_aliases_spellings_of_numbers_and_subfolders_are_understood(edits, tasks, tmp_path):
    other = tmp_path / "other"
    for task, alias in zip(tasks, ("Happiness", "FEAR"), strict=True):
        (other / alias).mkdir(parents=True)
        for old, new in (("0.00", "0"), ("0.50", ".5"), ("1.00", "1")):
            new = new.replace(".5", "0.5")
            shutil.copy(
                edits / f"{task.id}_{task.expression}_{old}.png",
                other / alias / f"{task.id}@{new}.png",
            )
    _, found = read(other, tasks, pattern="{expression}/{id}@{strength}.png")
    assert found == read(edits, tasks)[1]


def test_thirds_are_found_by_two_digits_but_a_strength_is_not_rounded_to_its_neighbour(
    edits, tasks
):
    (edits / "p0_happy_0.50.png").rename(edits / "p0_happy_0.33.png")
    _, (first, _) = read(edits, tasks, (1 / 3, 0.3, 0.5))
    assert [data is not None for data in first] == [True, False, False]


def test_a_missing_image_is_none_and_never_another_one(edits, tasks):
    (edits / "p1_fear_0.50.png").unlink()
    _, (first, second) = read(edits, tasks)
    assert None not in first
    assert [data is None for data in second] == [False, True, False]


def test_other_formats_become_png(edits, tasks):
    path = edits / "p0_happy_1.00.png"
    Image.open(path).save(path, format="BMP")
    data = read(edits, tasks)[1][0][2]
    assert data is not None
    assert data[:4] == b"\x89PNG"


def test_without_strength_in_the_names_only_general_editing_is_possible(edits, tasks, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for task in tasks:
        name = f"{task.id}_{task.expression}"
        shutil.copy(edits / f"{name}_1.00.png", flat / f"{name}.png")
    editor, found = read(flat, tasks, (1.0,), pattern="{id}_{expression}.png")
    assert not editor.graded
    assert all(data for (data,) in found)


def test_files_of_no_task_are_named(edits, tasks):
    (edits / "p9_happy_1.00.png").write_bytes(b"")
    (edits / "notes.txt").write_text("")
    editor, _ = read(edits, tasks)
    assert editor.belong_to_none(tasks) == ["notes.txt", "p9_happy_1.00.png"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{id}_{strength}.png", r"has no \{expression\}"),
        ("{expression}.png", r"has no \{id\}"),
        ("{id}_{expression}_{alpha}.png", r"unknown field \{alpha\}"),
        ("{id}_{id}_{expression}.png", "names a field twice"),
    ],
)
def test_a_pattern_that_cannot_tell_tasks_apart_is_refused(pattern, message):
    with pytest.raises(UserError, match=message):
        pattern_expression(pattern)


@pytest.mark.parametrize("damage", ["empty", "page", "torn"])
def test_a_file_that_is_no_whole_image_is_unreadable_and_the_others_are_read(edits, tasks, damage):
    broken = edits / "p0_happy_1.00.png"
    kinds = {"empty": b"", "page": b"<html>Not found</html>", "torn": broken.read_bytes()[:300]}
    broken.write_bytes(kinds[damage])
    _, (first, second) = read(edits, tasks)
    assert isinstance(first[2], Unreadable)
    assert "p0_happy_1.00.png cannot be read" in first[2].reason
    assert all(isinstance(data, bytes) for data in (*first[:2], *second))


def test_files_may_have_the_id_as_the_tasks_file_spells_it(tmp_path):
    file = tables.write_tasks(tmp_path / "in", ["happy"])
    file.write_text(file.read_text().replace('{"image"', '{"id": "Ann B.", "image"'))
    (task,) = read_tasks(file, domain="human")
    for name in ("Ann B.", task.id):
        folder = tmp_path / name
        tables.write_edits(folder, [replace(task, id=name)])
        editor, (found,) = read(folder, [task])
        assert all(isinstance(data, bytes) for data in found)
        assert editor.belong_to_none([task]) == []


def test_folders_without_a_match_and_double_files_are_refused(edits, tasks, tmp_path):
    with pytest.raises(UserError, match=r"needs dir="):
        FolderEditor(None, folder=None, pattern=PATTERN)
    with pytest.raises(UserError, match=r"No folder .*nowhere"):
        FolderEditor(None, folder=tmp_path / "nowhere", pattern=PATTERN)
    with pytest.raises(UserError, match=r"No file below .* matches .*p0_happy_0.00.png"):
        FolderEditor(None, folder=edits, pattern="{id}-{expression}.jpg")
    shutil.copy(edits / "p0_happy_0.50.png", edits / "p0_happy_0.5.png")
    with pytest.raises(UserError, match=r"p0_happy_0.5.png and p0_happy_0.50.png .* the same edit"):
        FolderEditor(None, folder=edits, pattern=PATTERN)
