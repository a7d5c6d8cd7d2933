"""Prices of calls agree with torch's counter, and calls are those of a real rendering."""

import pytest
import torch

from pixelsmile.editing.engine import load_speed
from pixelsmile.faces.tiny.architectures import tiny_scheduler
from pixelsmile.models.denoiser import Denoiser
from pixelsmile.models.flops import (
    Call,
    Job,
    Sizes,
    call_flops,
    calls_of,
    per_picture_flops,
)
from pixelsmile.models.operations import Operations
from pixelsmile.models.sampler import Conditions, PromptedField, sample, sigma_schedule

JOB = Job(edge=32, text=9, suffix=3, steps=4)


@pytest.fixture(scope="module")
def denoiser(tiny_stack):
    return Denoiser.from_pretrained(tiny_stack / "pipeline" / "transformer").eval()


@pytest.fixture(scope="module")
def sizes(denoiser):
    config = denoiser.transformer.config
    width = config.num_attention_heads * config.attention_head_dim
    return Sizes(config.num_layers, width, config.joint_attention_dim)


def conditions(sizes):
    return Conditions(
        torch.ones(16, 4, 4), torch.ones(9, sizes.text_width), torch.ones(12, 3, sizes.text_width)
    )


@pytest.mark.parametrize("name", ["exact", "fast", "draft"])
def test_priced_calls_are_what_torch_counts(denoiser, sizes, name):
    weights = torch.cat([torch.zeros(1, 12), torch.eye(12)[:2], 0.5 * torch.eye(12)[:2]])
    speed, scheduler = load_speed(name), tiny_scheduler()
    field = speed.wrap(PromptedField(denoiser, conditions(sizes), weights, 8))
    levels = sigma_schedule(scheduler, JOB.steps, 4)
    with torch.no_grad(), Operations() as found:
        sample(field, torch.ones(16, 4, 4), levels)
    priced = sum(call_flops(sizes, call) for call in calls_of(speed, weights, scheduler, JOB))
    assert priced == found.total


def test_alone_every_picture_pays_for_all_its_tokens(sizes):
    assert per_picture_flops(sizes, JOB, 3) == 12 * call_flops(sizes, Call(1, 8, 9))


def test_defaults_are_those_of_the_real_transformer():
    from accelerate import init_empty_weights
    from diffusers import QwenImageTransformer2DModel

    with init_empty_weights():
        real = QwenImageTransformer2DModel()
    sizes = Sizes()
    assert len(real.transformer_blocks) == sizes.layers
    assert real.inner_dim == sizes.width
    assert real.txt_in.in_features == sizes.text_width
    assert (real.img_in.in_features, real.proj_out.out_features) == sizes[3:]


@pytest.mark.parametrize("edge", [512, 1024])
def test_fast_sweeps_cost_a_quarter_or_less_at_full_size(edge):
    strengths = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    weights = (torch.eye(12)[:, None] * strengths[:, None]).flatten(0, 1)
    job = Job(edge=edge)
    calls = calls_of(load_speed("fast"), weights, tiny_scheduler(), job)
    cost = sum(call_flops(Sizes(), call) for call in calls)
    assert per_picture_flops(Sizes(), job, len(weights)) / cost >= 4
