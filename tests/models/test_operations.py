"""Operations are counted as torch counts them, the CPU's attention included."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pixelsmile.models.operations import Operations


def test_operations_are_those_that_torch_counts():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.Flatten(2),
        torch.nn.TransformerEncoderLayer(36, 4, dim_feedforward=64, batch_first=True),
    )
    image = torch.rand(2, 3, 8, 8)

    def step():
        with sdpa_kernel(SDPBackend.MATH):  # torch's counter does not know the CPU's kernel
            network(image).square().mean().backward()

    with FlopCounterMode(display=False) as known:
        step()
    with Operations() as counted:
        step()
    assert counted.total == known.get_total_flops() > 0


def test_operations_of_the_fast_attention_are_those_of_the_plain_one():
    def attend(backend):
        query = torch.rand(2, 4, 16, 8, requires_grad=True)
        with sdpa_kernel(backend), Operations() as counted:
            torch.nn.functional.scaled_dot_product_attention(query, query, query).sum().backward()
        return counted.total

    forward = 2 * 2 * 2 * 4 * 16 * 16 * 8  # two products
    assert attend(SDPBackend.MATH) == 3 * forward
    assert attend(SDPBackend.FLASH_ATTENTION) == 3 * forward + forward // 2  # scores made again
