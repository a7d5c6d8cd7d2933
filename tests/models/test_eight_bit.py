"""Weights in 8 bits are the weights to half a step; a backbone of them predicts nearly alike."""

import pytest
import torch
from torch import nn

from pixelsmile.faces.tiny.architectures import TEXT_WIDTH, tiny_transformer
from pixelsmile.models.backbone import Backbone
from pixelsmile.models.eight_bit import EightBitLinear, quantise, to_eight_bit


def test_entry_is_off_by_half_a_step_of_its_row_at_most(generator):
    weight = torch.randn(20, 30, generator=generator) * torch.logspace(-4, 4, 20)[:, None]
    numbers, scale = quantise(weight)
    assert numbers.dtype == torch.int8
    step = weight.abs().amax(dim=1, keepdim=True) / 127
    error = (numbers * scale[:, None] - weight).abs()
    assert (error <= step * 0.501).all()
    assert (error.amax(dim=1, keepdim=True) > step * 0.3).all()  # the bound is the right one


def test_rows_can_be_made_by_themselves(generator):
    weight = torch.randn(9, 5, generator=generator)
    whole = quantise(weight)
    for part, of_rows in zip(whole, quantise(weight[3:7]), strict=True):
        assert torch.equal(part[3:7], of_rows)


def test_layer_computes_with_its_rounded_weight_and_passes_the_gradient_on(generator):
    linear = nn.Linear(6, 4)
    layer = EightBitLinear(linear)
    x = torch.randn(3, 6, generator=generator, requires_grad=True)
    rounded = layer.weight.float() * layer.scale[:, None]
    torch.testing.assert_close(layer(x), x @ rounded.T + linear.bias)
    (gradient,) = torch.autograd.grad(layer(x).sum(), x)
    torch.testing.assert_close(gradient, rounded.sum(0).expand(3, 6))
    assert not any(p.requires_grad for name, p in layer.named_parameters() if name != "bias")


def test_every_linear_layer_of_the_blocks_is_replaced_and_nothing_else():
    transformer = tiny_transformer(0, layers=2, heads=2)
    count = sum(isinstance(m, nn.Linear) for m in transformer.transformer_blocks.modules())
    to_eight_bit(transformer.transformer_blocks)
    layers = [m for m in transformer.modules() if isinstance(m, EightBitLinear)]
    assert len(layers) == count > 20
    assert type(transformer.img_in) is nn.Linear


def test_backbone_in_eight_bits_is_smaller_and_predicts_nearly_the_same(generator):
    shapes = [(2, 16, 4, 4), (2, 16, 4, 4), (2, 9, TEXT_WIDTH)]
    noisy, source, text = (torch.randn(*shape, generator=generator) for shape in shapes)
    sigma = torch.tensor([0.3, 0.8])
    predicted, size = [], []
    for eight_bit in (False, True):
        base = tiny_transformer(0, layers=2, heads=2)
        backbone = Backbone(base, rank=2, alpha=4, eight_bit=eight_bit)
        with torch.no_grad():
            predicted.append(backbone(noisy, sigma, source, text))
        blocks = backbone.transformer.transformer_blocks.named_parameters()
        size.append(sum(p.nbytes for name, p in blocks if ".lora_" not in name))
    error = (predicted[1] - predicted[0]).norm() / predicted[0].norm()
    assert 0 < error < 0.02
    assert size[1] < 0.3 * size[0]


@pytest.mark.parametrize("back_end", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_blocks_give_the_same_prediction_and_gradient(generator, back_end):
    shapes = [(2, 16, 4, 4), (2, 16, 4, 4), (2, 9, TEXT_WIDTH)]
    noisy, source, text = (torch.randn(*shape, generator=generator) for shape in shapes)
    found = []
    for compile_with in (None, back_end):
        base = tiny_transformer(0, layers=1, heads=2)
        backbone = Backbone(base, rank=2, alpha=4, compile=compile_with, seed=1)
        for name, parameter in backbone.transformer.named_parameters():
            if "lora_B" in name:
                nn.init.constant_(parameter, 0.02)
        velocity = backbone(noisy, torch.tensor([0.3, 0.8]), source, text)
        loss = velocity.square().mean()
        gradients = torch.autograd.grad(loss, backbone.adapter_parameters())
        found.append((velocity, *gradients))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    torch.compiler.reset()
