"""What a person asks for, read or refused."""

import pytest
import torch

from pixelsmile.editing.requests import read_box, read_mixes, read_strengths
from pixelsmile.errors import UserError
from pixelsmile.expressions import BASIC, EXPRESSIONS, index


def test_words_for_several_expressions_and_aliases_name_each_once():
    assert [mix.name for mix in read_mixes("all", None)] == list(EXPRESSIONS)
    assert [mix.name for mix in read_mixes(["basic", "Anger", "shy"], None)] == [*BASIC, "shy"]


def test_blend_is_one_direction_with_its_weights_times_the_strength():
    (mix,) = read_mixes(None, {"happy": 0.6, "Surprise": "0.4"})
    expected = torch.zeros(12)
    expected[index("happy")], expected[index("surprised")] = 0.3, 0.2
    torch.testing.assert_close(mix.row(0.5), expected)


def test_names_of_files_tell_all_blends_apart():
    blends = [{"happy": 1}, {"happy": 0.5}, {"happy": -0.5}, {"happy": 0.5, "sad": 0.5}]
    assert len({read_mixes(None, blend)[0].name for blend in blends}) == 4


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.8, [0.8]),
        ("0.8", [0.8]),
        (-1, [-1.0]),
        ([1, 0, 0.5, 1], [1.0, 0.0, 0.5]),
        ("0:1:5", [0, 0.25, 0.5, 0.75, 1]),
        ("1:-1:3", [1, 0, -1]),
        ({"start": 0, "stop": 0.3, "num": 4}, [0, 0.1, 0.2, 0.3]),
    ],
)
def test_strengths_are_a_number_a_list_or_a_range_with_both_ends(value, expected):
    assert read_strengths(value) == expected


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("strong", "strength=strong is no number"),
        (True, "strength=True is no number"),
        (float("nan"), "strength=nan is no number"),
        ([], r"strength=\[\]: give at least one"),
        (80, "strength=80: give numbers from -4 to 4"),
        ("0:1:1", "strength.num=1: give a whole number from 2"),
        ("0:1:2.5", r"strength.num=2\.5: give a whole number"),
        ({"start": 0, "end": 1}, "a range is strength=start:stop:num"),
    ],
)
def test_strengths_that_make_no_sense_are_refused(value, match):
    with pytest.raises(UserError, match=match):
        read_strengths(value)


@pytest.mark.parametrize(
    ("expression", "blend", "match"),
    [
        (None, None, "Say what to show: expression=happy"),
        ("happy", {"sad": 1}, "one of the two"),
        ("hapy", None, "Unknown expression 'hapy'"),
        ("neutral", None, "is strength 0 of any other"),
        ([], None, r"expression=\[\]: give at least one"),
        ([3], None, "expression=3: give a name"),
        (None, "happy", "blend=happy: give weights by name"),
        (None, {}, "give weights by name"),
        (None, {"happy": 0.5, "happiness": 0.5}, "names happy twice"),
        (None, {"happy": "much"}, r"blend\.happy=much is no number"),
    ],
)
def test_directions_that_make_no_sense_are_refused(expression, blend, match):
    with pytest.raises(UserError, match=match):
        read_mixes(expression, blend)


def test_box_is_four_numbers_in_order():
    assert read_box([1, 2.5, 30, "40"]) == (1, 2.5, 30, 40)
    assert read_box(None) is None
    for value in ([1, 2, 3], [5, 5, 1, 9], "face", [1, 2, 3, "x"]):
        with pytest.raises(UserError, match="box"):
            read_box(value)
