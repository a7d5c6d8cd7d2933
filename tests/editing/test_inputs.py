"""Files, folders, globs and lists of pictures."""

import pytest

from pixelsmile.editing.inputs import find_images, result_folders
from pixelsmile.errors import UserError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.jpg", "a.PNG", "notes.txt", "deep/c.webp", "out/a/happy_1.png", "odd [1].jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(value, folder):
    found = find_images(value, folder / "out")
    return [path.relative_to(folder).as_posix() for path in found]


def test_folder_gives_its_pictures_in_order(folder):
    assert names(str(folder), folder) == ["a.PNG", "b.jpg", "odd [1].jpg"]


def test_glob_goes_into_folders_but_not_into_results(folder):
    found = names(f"{folder}/**/*", folder)
    assert set(found) == {"a.PNG", "b.jpg", "odd [1].jpg", "deep/c.webp"}


def test_file_is_taken_as_it_is_even_if_its_name_looks_like_a_glob(folder):
    assert names(f"{folder}/odd [1].jpg", folder) == ["odd [1].jpg"]
    assert names(f"{folder}/notes.txt", folder) == ["notes.txt"]


def test_list_names_each_picture_once(folder):
    assert names([f"{folder}/b.jpg", str(folder)], folder) == ["b.jpg", "a.PNG", "odd [1].jpg"]


@pytest.mark.parametrize("value", [None, [], 3])
def test_no_image_is_refused(value, folder):
    with pytest.raises(UserError, match="image= is missing: give a file, a folder, a glob"):
        find_images(value, folder)


def test_a_folder_inside_that_of_the_results_is_said_to_be_that(folder):
    with pytest.raises(UserError, match=r"pictures lie inside the folder of the results"):
        find_images(str(folder), folder)


def test_image_that_is_not_there_is_named(folder):
    with pytest.raises(UserError, match=r"none\.jpg: there is no such file"):
        find_images(f"{folder}/none.jpg", folder)
    with pytest.raises(UserError, match=r"\*\.gif: no picture there"):
        find_images(f"{folder}/*.gif", folder)
    with pytest.raises(UserError, match=r"out: no picture there"):
        find_images(f"{folder}/out", folder / "out")


def test_images_of_one_name_get_folders_of_their_own(folder):
    (folder / "deep" / "B.png").touch()
    images = find_images([f"{folder}/b.jpg", f"{folder}/deep/B.png", f"{folder}/a.PNG"], folder)
    found = [path.name for path in result_folders(images, folder / "out")]
    assert len({name.casefold() for name in found}) == 3
    assert found[2] == "a"
    assert found == [path.name for path in result_folders(images, folder / "out")]
