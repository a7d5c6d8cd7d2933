"""The numbers of a report equal scikit-learn and SciPy on random tables, with and without gaps."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, confusion_matrix

from pixelsmile.bench import bootstrap
from pixelsmile.bench.measure import GENERAL, LINEAR, confusion, constant, measure
from pixelsmile.bench.parts import by_face, parts
from pixelsmile.expressions import BASIC, CONFUSING_PAIRS, EXPRESSIONS, index
from tests.bench.tables import PROTOCOL, random_table

TABLES = [(0, 60, 0.0, 0.0), (1, 60, 0.15, 0.0), (2, 37, 0.3, 0.0), (3, 72, 0.1, 0.3)]


def independent(table):
    """The eight numbers and their n, by other libraries."""
    full = [edit for edit in table if edit.strength == 1.0]
    judged = [edit for edit in full if edit.scores is not None]
    asked = np.array([EXPRESSIONS.index(edit.task.expression) for edit in judged])
    seen = np.array([int(np.argmax(e.scores)) if max(e.scores) > 0 else 12 for e in judged])
    shares = confusion_matrix(asked, seen, labels=range(13), normalize="true")
    pairs = [(index(a), index(b)) for a, b in CONFUSING_PAIRS]
    basic = np.isin(asked, [index(name) for name in BASIC])
    curves = {}
    for edit in table:
        curves.setdefault(edit.task.name, []).append(edit)
    linear = {
        name: stats.pearsonr([e.strength for e in curve], [e.score for e in curve]).statistic
        for name, curve in curves.items()
        if all(e.scores is not None for e in curve)
    }
    on_basic = [r for name, r in linear.items() if curves[name][0].task.expression in BASIC]

    def identity(edits):
        return [np.mean(list(e.cosines.values())) for e in edits if None not in e.cosines.values()]

    above = [edit for edit in table if edit.strength > 0]
    harmonic = [
        stats.hmean([edit.score, max(np.mean(list(edit.cosines.values())), 0)])
        for edit in above
        if edit.scores is not None and None not in edit.cosines.values()
    ]
    return {
        "general": {
            "mscr": (np.mean([(shares[a, b] + shares[b, a]) / 2 for a, b in pairs]), None),
            "acc_6": (accuracy_score(asked[basic], seen[basic]), basic.sum()),
            "acc_12": (accuracy_score(asked, seen), len(asked)),
            "id_sim": (np.mean(identity(full)), len(identity(full))),
        },
        "linear": {
            "cls_6": (np.mean(on_basic), len(on_basic)),
            "cls_12": (np.mean(list(linear.values())), len(linear)),
            "id_sim": (np.mean(identity(above)), len(identity(above))),
            "hes": (np.mean(harmonic), len(harmonic)),
        },
    }


@pytest.mark.parametrize(("seed", "tasks", "gaps", "dark"), TABLES)
def test_every_number_equals_an_independent_computation_to_nine_digits(seed, tasks, gaps, dark):
    table = random_table(seed, tasks, gaps=gaps, dark=dark)
    results = measure(table, PROTOCOL)
    expected = independent(table)
    assert tuple(results["general"]) == GENERAL
    assert tuple(results["linear"]) == LINEAR
    for setting, numbers in expected.items():
        for name, (value, n) in numbers.items():
            got = results[setting][name]
            assert got["value"] == pytest.approx(value, abs=1e-9), (setting, name)
            assert n is None or got["n"] == n
            assert got["low"] <= got["value"] <= got["high"]
            assert got["n"] <= got["of"]
            assert (got["n"] < got["of"]) or not gaps or name == "mscr"


@pytest.mark.parametrize(("seed", "tasks", "gaps", "dark"), TABLES)
def test_the_parts_of_the_bootstrap_sum_up_to_the_numbers(seed, tasks, gaps, dark):
    table = random_table(seed, tasks, faces=tasks // 2, gaps=gaps, dark=dark)
    results = measure(table, PROTOCOL)
    faces = {edit.task.name: edit.task.digest for edit in table}
    for name, units in parts(table, PROTOCOL).items():
        setting, metric = name.split(".")
        numerators, denominators = by_face(units, faces)
        assert len(numerators) == tasks // 2
        value = bootstrap.mean_ratio(numerators.sum(0), denominators.sum(0))
        assert value == pytest.approx(results[setting][metric]["value"], abs=1e-9), name


def test_the_order_of_the_rows_does_not_matter():
    table = random_table(4, 24, gaps=0.1)
    mixed = [table[place] for place in np.random.default_rng(0).permutation(len(table))]
    for setting, numbers in measure(table, PROTOCOL).items():
        for name, number in measure(mixed, PROTOCOL)[setting].items():
            assert number["value"] == pytest.approx(numbers[name]["value"], abs=1e-12)
            assert number["n"] == numbers[name]["n"]


def test_a_curve_with_a_gap_is_left_out_and_counted():
    table = random_table(5, 24)
    whole = measure(table, PROTOCOL)["linear"]["cls_12"]
    assert (whole["n"], whole["of"]) == (24, 24)
    broken = [e for e in table if not (e.task.id == "f3" and e.strength == 0.5)]
    broken += random_table(5, 24, gaps=1.0)[10:11]  # the same edit, refused
    less = measure(broken, PROTOCOL)["linear"]["cls_12"]
    assert (less["n"], less["of"]) == (23, 24)


def test_without_strengths_there_is_no_linear_control():
    protocol = {**PROTOCOL, "linear": []}
    assert measure(random_table(), protocol)["linear"] == {}
    assert not [name for name in parts(random_table(), protocol) if name.startswith("linear")]


def test_what_nobody_could_measure_is_nan_and_never_0_or_1():
    results = measure(random_table(gaps=1.0), PROTOCOL)
    for numbers in results.values():
        for name, number in numbers.items():
            assert math.isnan(number["value"]), name
            assert number["n"] == 0 < number["of"]


def test_the_confusion_table_has_requests_as_rows_and_a_column_for_nothing_seen():
    table = [edit for edit in random_table(6, 48, dark=0.2) if edit.strength == 1.0]
    asked = [EXPRESSIONS.index(edit.task.expression) for edit in table]
    seen = [int(np.argmax(edit.scores)) if max(edit.scores) else 12 for edit in table]
    assert 12 in seen
    expected = confusion_matrix(asked, seen, labels=range(13))[:12]
    assert confusion(table).tolist() == expected.tolist()


def test_an_edit_in_which_nothing_is_seen_is_wrong_but_neither_angry_nor_a_confusion_with_it():
    table = [
        replace(edit, scores=(0.0,) * 12) if edit.task.expression in ("angry", "disgust") else edit
        for edit in random_table(8, 48)
        if edit.strength == 1.0
    ]
    protocol = {**PROTOCOL, "linear": []}
    numbers, plain = (measure(rows, protocol)["general"] for rows in (table, random_table(8, 48)))
    for name in ("acc_6", "acc_12", "mscr"):
        assert numbers[name]["n"] == plain[name]["n"]
    units = parts(table, protocol)
    dark = {(e.task.name, 1.0) for e in table if e.task.expression in ("angry", "disgust")}
    assert len(dark) == 8
    for unit in dark:
        assert units["general.acc_12"][unit][0] == 0
        assert not units["general.mscr"][unit][0].any()
        assert units["general.mscr"][unit][1].any()


def test_curves_that_never_move_are_counted():
    table = random_table(7, 12)
    assert constant(table, PROTOCOL["linear"]) == 0
    still = [replace(edit, scores=(0.5,) * 12) if edit.task.id == "f2" else edit for edit in table]
    assert constant(still, PROTOCOL["linear"]) == 1
