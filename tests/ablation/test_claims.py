"""Verdicts follow from the differences by the rule, and the claims are those of the paper."""

import math

import numpy as np
import pytest
from scipy import stats

from pixelsmile.ablation.claims import (
    _ALL,
    CLAIMS,
    HELD,
    NOT_HELD,
    NOT_RUN,
    UNCLEAR,
    Against,
    TradeOff,
    in_the_paper,
    overall,
    verdicts,
    weigh,
)
from pixelsmile.ablation.rows import TABLE_3
from pixelsmile.bench.paper import tables
from tests.ablation.small import result

CLAIM = {claim.name: claim for claim in CLAIMS}


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_is_that_of_scipy(seed):
    values = np.random.default_rng(seed).normal(0.1, 0.2, 3 + seed)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    verdict = weigh(values.tolist())
    assert verdict.low == pytest.approx(expected.low, abs=1e-12)
    assert verdict.high == pytest.approx(expected.high, abs=1e-12)
    assert verdict.mean == pytest.approx(values.mean(), abs=1e-12)


@pytest.mark.parametrize(
    ("differences", "word"),
    [
        ([0.10, 0.11, 0.12], HELD),
        ([0.01, 0.11, 0.30], UNCLEAR),  # right in every seed, but the interval holds 0
        ([0.20, 0.20, -0.01], UNCLEAR),
        ([-0.30, -0.01, 0.00], NOT_HELD),  # no seed shows it
        ([0.00, 0.00, 0.00], NOT_HELD),
        ([0.001, -0.5, -0.5, -0.5, -0.5, -0.5], NOT_HELD),  # one seed does, the interval does not
        ([0.2], UNCLEAR),
        ([1e-17, -1e-17], NOT_HELD),
        ([], NOT_RUN),
        ([0.1, math.nan], NOT_RUN),
    ],
)
def test_words_follow_the_rule(differences, word):
    assert weigh(differences).word == word


def test_a_claim_is_as_good_as_its_worst_comparison():
    assert overall([HELD, UNCLEAR, NOT_HELD]) == NOT_HELD
    assert overall([HELD, NOT_RUN, NOT_HELD]) == NOT_RUN


def table(**rows):
    """All rows over three seeds; a row gets what it is given, seeds differ by little."""
    found = []
    for row in _ALL:
        for seed in range(3):
            jitter = 0.001 * seed
            values = {name: value + jitter for name, value in rows.get(row, {}).items()}
            found.append(result(row, seed, **values))
    return found


def test_highest_is_the_lead_over_the_nearest_of_all_others():
    results = table(
        without_contrastive={"id_sim": 0.9}, log_ratio={"id_sim": 0.8}, hinge={"id_sim": 0.2}
    )
    (verdict,) = verdicts(CLAIM["contrastive_off_identity"], results, "human")
    assert verdict.word == HELD
    assert verdict.differences == pytest.approx((0.1, 0.1, 0.1))


def test_differences_are_taken_within_seeds():
    """Seeds that differ wildly do not hide a small difference that each of them shows."""
    rows = {"full": 0.0, "hinge": -0.01}
    results = [
        result(row, seed, id_sim=0.3 * (seed + 1) + shift)
        for row, shift in rows.items()
        for seed in range(3)
    ]
    *_, verdict = verdicts(CLAIM["hinge"], results, "human")
    assert verdict.word == HELD
    assert verdict.differences == pytest.approx((0.01, 0.01, 0.01))


def test_seeds_that_a_row_lacks_are_left_out_and_no_common_seed_is_not_run():
    results = [result("full", 0), result("full", 1), result("hinge", 1), result("hinge", 2)]
    claim = CLAIM["hinge"]
    assert [len(v.differences) for v in verdicts(claim, results, "human")] == [1, 1, 1]
    alone = [one for one in results if one.row == "full"]
    assert {v.word for v in verdicts(claim, alone, "human")} == {NOT_RUN}
    assert {v.word for v in verdicts(claim, results, "anime")} == {NOT_RUN}


def test_lower_confusion_is_ahead_and_higher_is_behind():
    results = table(mead={"mscr": 0.9, "acc_6": 0.9})
    by_metric = {
        c.metric: v.word
        for c, v in zip(
            CLAIM["mead"].comparisons, verdicts(CLAIM["mead"], results, "human"), strict=True
        )
    }
    assert by_metric["mscr"] == HELD
    assert by_metric["acc_6"] == NOT_HELD


def test_trade_off_is_minus_pearsons_correlation():
    generator = np.random.default_rng(0)
    one, other = generator.random(7), generator.random(7)
    values = {row: {"a": one[i], "b": other[i]} for i, row in enumerate(_ALL)}
    expected = -stats.pearsonr(one, other).statistic
    assert TradeOff("a", "b").difference(values, _ALL) == pytest.approx(expected, abs=1e-12)
    flat = {row: {"a": 1.0, "b": other[i]} for i, row in enumerate(_ALL)}
    assert TradeOff("a", "b").difference(flat, _ALL) == 0.0


def test_the_papers_own_differences_come_from_its_table():
    printed = {row["method"]: row for row in tables()["table_3"]}
    full, hinge = printed["Full Setting"], printed["w/ Hinge Constraint"]
    expected = float(full["id_sim"]) - float(hinge["id_sim"])
    assert in_the_paper(Against("hinge", "id_sim", False)) == pytest.approx(expected)
    # What the text says and the table does not show.
    assert in_the_paper(Against("without_id", "id_sim", False, _ALL)) == pytest.approx(-0.0014)
    assert in_the_paper(Against("without_contrastive", "acc_12", False, _ALL)) < 0
    assert math.isnan(in_the_paper(CLAIM["asymmetric_loss"].comparisons[0]))


def test_names_of_claims_and_rows_exist_once():
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)
    assert {c.row for claim in CLAIMS for c in claim.comparisons if isinstance(c, Against)} == {
        row.name for row in TABLE_3
    }
