"""Floating point operations of the transformer, by formula and by counting calls.

The formula is checked against `pixelsmile.models.operations` on the tiny stack. What a speed costs
at full size comes from the very code that edits: it runs with a stand-in that notes the shape of
every call (`calls_of`), and each call is priced by the formula.
"""

from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from pixelsmile.models.renderer import distinct_rows
from pixelsmile.models.sampler import Conditions, PromptedField, sample, sigma_schedule
from pixelsmile.models.speed import Speed


class Sizes(NamedTuple):
    """Of a transformer; the defaults are those of Qwen-Image-Edit-2511."""

    layers: int = 60
    width: int = 3072
    text_width: int = 3584
    in_channels: int = 64
    out_channels: int = 64  # of a patch


class Job(NamedTuple):
    """Sizes of an edit."""

    edge: int = 512  # of image and source, in pixels
    text: int = 344  # tokens of a prompt: 20 words and an image of 512 x 512
    suffix: int = 7  # of them, from the expression word on
    steps: int = 50


class Call(NamedTuple):
    """Shape of one call of the transformer."""

    rows: int
    image: int  # tokens
    text: int  # tokens
    context: int = 0  # tokens of which only keys and values take part


def call_flops(sizes: Sizes, call: Call) -> int:
    """Return the floating point operations of a call, two for each multiplication."""
    width, tokens = sizes.width, call.image + call.text
    linear = tokens * 24 * width**2  # per token: 4 projections and an MLP of 4 times the width
    attention = 4 * tokens * (tokens + call.context) * width
    modulation = 3 * 2 * 6 * width**2  # image and source at their noise levels, and text
    ends = 2 * width * (call.image * (sizes.in_channels + sizes.out_channels))
    ends += 2 * width * call.text * sizes.text_width
    time = 2 * 2 * (256 * width + width**2) + 2 * 2 * width**2  # embedding, and the last norm
    return call.rows * (sizes.layers * (linear + attention + modulation) + ends + time)


def calls_of(
    speed: Speed, weights: Tensor, scheduler: FlowMatchEulerDiscreteScheduler, job: Job
) -> list[Call]:
    """Return the calls that rendering rows of weights, (N, 12), takes."""
    stand_in = _StandIn(job)
    rows, _, _ = distinct_rows(weights, with_neutral=not speed.exact)
    edge = job.edge // 8
    latent = torch.zeros(1, edge, edge)  # one channel: only tokens are counted
    prompts = torch.zeros(job.text, 1), torch.zeros(weights.shape[1], job.suffix, 1)
    whole: Any = stand_in
    field = speed.wrap(PromptedField(whole, Conditions(latent, *prompts), rows, len(rows)))
    sample(field, latent, sigma_schedule(scheduler, job.steps, (edge // 2) ** 2))
    return stand_in.calls


class _StandIn:
    """Notes calls, and answers zeros."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.calls: list[Call] = []
        self.dtype = torch.float32
        self.transformer = SimpleNamespace(transformer_blocks=[])

    def __call__(self, noisy: Tensor, sigma: Tensor, source: Tensor | None, text: Tensor) -> Tensor:
        tokens = noisy.shape[-2] * noisy.shape[-1] // 4
        image = tokens if source is None else 2 * tokens
        context = 2 * tokens + self.job.text - image - text.shape[1]
        self.calls.append(Call(len(noisy), image, text.shape[1], context))
        return torch.zeros_like(noisy)


def per_picture_flops(sizes: Sizes, job: Job, pictures: int) -> int:
    """Return what the transformer costs where every picture runs by itself."""
    image = 2 * (job.edge // 16) ** 2
    return pictures * job.steps * call_flops(sizes, Call(1, image, job.text))
