import math

import pytest

from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.studio import mixes


def test_a_strip_leads_in_equal_steps_from_nothing_to_the_mix():
    target = mixes.weights_of({"happy": 0.6, "surprised": -0.4})
    shares, rows = mixes.strip(target, 5)
    assert shares == [0, 0.25, 0.5, 0.75, 1]
    assert rows[0] == (0,) * 12
    assert rows[-1] == target
    for share, row in zip(shares, rows, strict=True):
        assert row == pytest.approx([share * weight for weight in target])


def test_a_grid_asks_for_each_expression_alone_in_order():
    rows = mixes.grid(0.7)
    for place, row in enumerate(rows):
        assert [number for number, weight in enumerate(row) if weight] == [place]
        assert row[place] == 0.7
    assert len(rows) == len(EXPRESSIONS)


@pytest.mark.parametrize("value", [2.01, -1.01, math.nan, math.inf, None])
def test_a_strength_that_no_slider_can_have_is_refused_by_name(value):
    values = [0.0] * 12
    values[EXPRESSIONS.index("shy")] = value
    with pytest.raises(UserError, match=r"strength of shy is .*between -1 and 2"):
        mixes.check_weights(values)


def test_another_number_of_sliders_is_refused():
    with pytest.raises(UserError, match="3 strengths were sent: send 12"):
        mixes.check_weights([0.0] * 3)
