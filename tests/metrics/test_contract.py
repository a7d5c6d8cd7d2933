"""What all five metrics promise, whatever they measure."""

import copy
import pickle

import pytest
import torch

from pixelsmile.metrics import (
    ControlLinearityScore,
    ExpressionAccuracy,
    HarmonicEditingScore,
    IdentitySimilarity,
    MeanStructuralConfusionRate,
)

HALF = torch.tensor([0.5, 0.7])
CURVES = torch.tensor([[0.0, 0.5, 1.0], [0.0, 0.5, 1.0]])
CASES = [
    pytest.param(MeanStructuralConfusionRate([(0, 1)]), torch.tensor([[0, 1, 1], [0, 0, 1]])),
    pytest.param(ExpressionAccuracy(), torch.tensor([[0, 1, 1], [0, 0, 1]])),
    pytest.param(HarmonicEditingScore(), torch.stack([HALF, HALF])),
    pytest.param(ControlLinearityScore(), torch.stack([CURVES, CURVES.square()])),
    pytest.param(IdentitySimilarity(), torch.stack([torch.eye(2), torch.ones(2, 2)])[:, None]),
]


@pytest.mark.parametrize(("metric", "inputs"), CASES)
def test_states_and_result_are_exact_sums_in_float64(metric, inputs):
    metric = copy.deepcopy(metric)
    metric.update(*inputs)
    for name, state in metric.metric_state.items():
        assert state.dtype in (torch.int64, torch.float64), name
        assert metric._reductions[name].__name__ == "dim_zero_sum", name
    assert metric.compute().dtype == torch.float64
    assert metric.compute().shape == ()


@pytest.mark.parametrize(("metric", "inputs"), CASES)
def test_half_and_bf16_modules_keep_the_precision_of_the_sums(metric, inputs):
    whole, module = copy.deepcopy(metric), torch.nn.ModuleDict({"metric": copy.deepcopy(metric)})
    whole.update(*inputs)
    module.to(torch.bfloat16)["metric"].update(*inputs)
    assert torch.equal(module["metric"].compute(), whole.compute())


@pytest.mark.parametrize(("metric", "inputs"), CASES)
def test_the_value_lies_in_its_interval_and_within_the_plot_bounds(metric, inputs):
    metric = copy.deepcopy(metric)
    metric.update(*inputs)
    low, high = metric.interval()
    assert metric.plot_lower_bound <= low <= metric.compute().item() + 1e-6
    assert metric.compute().item() - 1e-6 <= high <= metric.plot_upper_bound
    assert metric.interval(0.5)[1] <= high
    assert isinstance(metric.num_samples, int)


@pytest.mark.parametrize(("metric", "inputs"), CASES)
def test_a_pickled_metric_goes_on_where_it_was(metric, inputs):
    metric = copy.deepcopy(metric)
    metric.update(*inputs)
    again = pickle.loads(pickle.dumps(metric))
    assert torch.equal(again.compute(), metric.compute())
    again.update(*inputs)
    assert again.num_samples == 2 * metric.num_samples


@pytest.mark.parametrize(("metric", "inputs"), CASES)
def test_merging_into_a_fresh_metric_gives_the_other_one_without_a_warning(metric, inputs, recwarn):
    full, fresh = copy.deepcopy(metric), copy.deepcopy(metric)
    full.update(*inputs)
    fresh.merge_state(full)
    assert torch.equal(fresh.compute(), full.compute())
    assert not [w for w in recwarn if "before the ``update``" in str(w.message)]


def test_only_confusion_is_better_when_lower():
    lower = [case.values[0] for case in CASES if not case.values[0].higher_is_better]
    assert [type(metric) for metric in lower] == [MeanStructuralConfusionRate]
    assert all(case.values[0].full_state_update is False for case in CASES)
