"""People to calibrate on and to check on: never the same, never those of the training."""

import pytest

from pixelsmile.data.people import read_people
from pixelsmile.errors import UserError
from pixelsmile.faces.base import CALIBRATION_SEED, RESERVED_SEED
from pixelsmile.faces.splits import write_people
from tests.faces.fakes import FakeFaces
from tests.small_sets import write_ffe


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    for name, people in (("a", range(10)), ("b", range(10, 14)), ("c", range(9, 12))):
        write_ffe(folder / name, people)
    return folder


def names(people):
    return {person.identity for person in people}


def test_two_files_give_the_neutral_images_of_both(sets):
    people = read_people({"fit": sets / "a", "check": sets / "b"}, domain="human")
    assert names(people.fit) == {f"p{i}" for i in range(10)}
    assert names(people.check) == {f"p{i}" for i in range(10, 14)}
    assert {one.category for one in people.fit + people.check} == {"neutral"}


def test_one_file_is_divided_by_name_and_nobody_is_lost(sets):
    people = read_people({"fit": sets / "a"}, domain="human")
    assert people.fit
    assert people.check
    assert not names(people.fit) & names(people.check)
    assert len(people.fit) + len(people.check) == 10
    assert read_people({"fit": sets / "a"}, domain="human") == people


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"fit": "a", "check": "c"}, r"fit and people\.files\.check have 1 .*p9"),
        ({"fit": "b", "check": "a", "trained_on": "c"}, r"training have 3 .*p10, p11, p9"),
    ],
)
def test_somebody_in_two_groups_is_refused(sets, files, message):
    places = {key: sets / name for key, name in files.items()}
    with pytest.raises(UserError, match=message):
        read_people(places, domain="human")


def test_a_group_without_people_is_refused(sets):
    with pytest.raises(UserError, match="Nobody is left to check"):
        read_people({"fit": sets / "a"}, domain="human", check_share=1e-9)
    with pytest.raises(UserError, match=r"check_share=1.5: give"):
        read_people({"fit": sets / "a"}, domain="human", check_share=1.5)


def test_drawn_people_have_reserved_seeds_of_two_ranges(tmp_path):
    files = write_people(FakeFaces(), tmp_path, size=32, fit_identities=2, check_identities=2)
    people = read_people(files, domain="human")
    assert names(people.fit) == {f"human_{CALIBRATION_SEED + i:05d}" for i in range(2)}
    assert names(people.check) == {f"human_{RESERVED_SEED + i:05d}" for i in range(2)}


def test_people_to_check_on_never_reach_those_to_fit_on(tmp_path):
    with pytest.raises(UserError, match="check_identities=101: stay at or below 100"):
        write_people(FakeFaces(), tmp_path, size=32, fit_identities=1, check_identities=101)
