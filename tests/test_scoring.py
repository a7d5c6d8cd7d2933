"""The summed metrics equal plain loops over single edits, however they fall into batches."""

import math

import numpy as np
import pytest
import torch

from pixelsmile.expressions import BASIC, CONFUSING_PAIRS, index
from pixelsmile.scoring import METRIC_NAMES, EditingMetrics, FaceScorer

STRENGTHS = (0.0, 0.5, 1.0)
ROWS, RECOGNISERS = 96, 2
BASIC_ROWS = [index(name) for name in BASIC]


@pytest.fixture
def edits(generator):
    """Random rows of every expression, as `EditingMetrics.update` takes them."""
    requested = torch.arange(ROWS) % 12
    scores = torch.rand(ROWS, len(STRENGTHS), 12, generator=generator)
    scores[torch.arange(ROWS), -1, requested] += 0.5  # half of them read as asked
    source = torch.randn(RECOGNISERS, ROWS, 5, generator=generator)
    noise = torch.randn(RECOGNISERS, ROWS, len(STRENGTHS), 5, generator=generator)
    return {
        "requested": requested,
        "strengths": torch.tensor(STRENGTHS),
        "scores": scores.clamp(max=1),
        "source": source,
        "edited": source.unsqueeze(2) + noise,
    }


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def plain(edits):
    """The seven numbers by loops over floats."""
    requested, scores = edits["requested"].tolist(), edits["scores"].tolist()
    source, edited = edits["source"].tolist(), edits["edited"].tolist()
    seen = [max(range(12), key=curve[-1].__getitem__) for curve in scores]
    right = [asked == shown for asked, shown in zip(requested, seen, strict=True)]
    curves, harmonic, similar = [], [], []
    for row, asked in enumerate(requested):
        target = [step[asked] for step in scores[row]]
        curves.append(float(np.corrcoef(STRENGTHS, target)[0, 1]))
        for step, strength in enumerate(STRENGTHS):
            if strength == 0:
                continue
            each = [cosine(source[m][row], edited[m][row][step]) for m in range(RECOGNISERS)]
            identity = sum(each) / len(each)
            similar.append(identity)
            kept = max(identity, 0)
            total = target[step] + kept
            harmonic.append(2 * target[step] * kept / total if total else 0)

    def share(asked, shown):
        rows = [s for a, s in zip(requested, seen, strict=True) if a == asked]
        return rows.count(shown) / len(rows)

    rates = [
        (share(index(a), index(b)) + share(index(b), index(a))) / 2 for a, b in CONFUSING_PAIRS
    ]
    basic = [row for row, asked in enumerate(requested) if asked in BASIC_ROWS]
    return {
        "mscr": np.mean(rates),
        "acc_6": np.mean([right[row] for row in basic]),
        "acc_12": np.mean(right),
        "cls_6": np.mean([curves[row] for row in basic]),
        "cls_12": np.mean(curves),
        "hes": np.mean(harmonic),
        "id_sim": np.mean(similar),
    }


def test_every_metric_equals_plain_loops(edits):
    metrics = EditingMetrics()
    metrics.update(**edits)
    results = metrics.compute()
    assert tuple(results) == METRIC_NAMES
    for name, expected in plain(edits).items():
        assert results[name]["value"] == pytest.approx(expected, abs=1e-5), name


def test_counts_of_rows_are_those_behind_each_number(edits):
    metrics = EditingMetrics()
    metrics.update(**edits)
    counts = {name: measured["n"] for name, measured in metrics.compute().items()}
    asked = ROWS * 2  # strengths above 0
    per_expression = ROWS // 12
    assert counts == {
        "mscr": 4 * per_expression,
        "acc_6": 6 * per_expression,
        "acc_12": ROWS,
        "cls_6": 6 * per_expression,
        "cls_12": ROWS,
        "hes": asked,
        "id_sim": asked,
    }


def test_intervals_contain_their_values(edits):
    metrics = EditingMetrics()
    metrics.update(**edits)
    for name, measured in metrics.compute().items():
        assert measured["low"] < measured["value"] < measured["high"], name


def part(edits, rows):
    return {
        "requested": edits["requested"][rows],
        "strengths": edits["strengths"],
        "scores": edits["scores"][rows],
        "source": edits["source"][:, rows],
        "edited": edits["edited"][:, rows],
    }


@pytest.mark.parametrize("size", [1, 5, 12, 50])
def test_result_does_not_depend_on_the_batches(edits, size):
    whole, split = EditingMetrics(), EditingMetrics()
    whole.update(**edits)
    for start in range(0, ROWS, size):
        split.update(**part(edits, slice(start, start + size)))
    assert torch.equal(split.confusion(), whole.confusion())
    expected = whole.compute()
    for name, measured in split.compute().items():
        assert measured == pytest.approx(expected[name], abs=1e-6), name


def test_batch_without_a_basic_expression_is_counted(edits):
    """One row of `confused` gives the six-expression metrics nothing, not nan in their sums."""
    metrics = EditingMetrics()
    metrics.update(**edits)
    before = metrics.compute()
    row = int((edits["requested"] == index("confused")).nonzero()[0])
    metrics.update(**part(edits, slice(row, row + 1)))
    after = metrics.compute()
    assert after["acc_12"]["n"] == before["acc_12"]["n"] + 1
    for name in ("acc_6", "cls_6", "mscr"):
        assert after[name] == before[name]


def test_reset_forgets_everything(edits):
    metrics = EditingMetrics()
    metrics.update(**part(edits, slice(0, 30)))
    metrics.reset()
    assert int(metrics.confusion().sum()) == 0
    metrics.update(**edits)
    assert metrics.compute()["acc_12"]["value"] == pytest.approx(plain(edits)["acc_12"], abs=1e-6)


def test_confusion_counts_full_strength_only(edits):
    edits["scores"][:, :-1] = 0
    edits["scores"][:, :-1, 3] = 1  # earlier strengths all look confident
    metrics = EditingMetrics()
    metrics.update(**edits)
    predicted = edits["scores"][:, -1].argmax(-1)
    expected = torch.zeros(12, 12, dtype=torch.int64)
    for asked, shown in zip(edits["requested"], predicted, strict=True):
        expected[asked, shown] += 1
    assert torch.equal(metrics.confusion(), expected)


def test_scorer_stacks_its_recognisers_and_stays_in_evaluation(generator):
    class Judge(torch.nn.Module):
        def score(self, images):
            return images.mean((2, 3)).repeat(1, 4)

    class Look(torch.nn.Module):
        def __init__(self, gain):
            super().__init__()
            self.gain = gain

        def forward(self, images, landmarks):
            return self.gain * images.mean((2, 3)) + landmarks.mean()

    images = torch.rand(2, 3, 8, 8, generator=generator)
    landmarks = torch.rand(2, 5, 2, generator=generator)
    scorer = FaceScorer(Judge(), [Look(1.0), Look(2.0)]).train()
    assert not any(module.training for module in scorer.modules())
    embedded = scorer.identities(images, landmarks)
    means = images.mean((2, 3))
    torch.testing.assert_close(embedded, torch.stack([means, 2 * means]) + landmarks.mean())
    assert scorer.expressions(images).shape == (2, 12)
