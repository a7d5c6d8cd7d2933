"""One training step of the full-size module on fake tensors, with the memory and FLOPs counted."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.testing._internal.distributed.fake_pg import FakeStore

from pixelsmile.data.datamodule import TripletBatch
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.models.first_weights import is_adapter
from pixelsmile.models.operations import Operations
from pixelsmile.module import PixelSmile
from pixelsmile.parallel import ShardedStrategy, spread
from pixelsmile.planning.ledger import Ledger
from pixelsmile.planning.shapes import build_shapes, fake_batch, make_fake
from pixelsmile.throughput import num_tokens, step_flops


@dataclass(frozen=True)
class Trace:
    """What one process does in one step.

    Attributes:
        peak: Bytes by part, at the moment when their sum is largest.
        peaks: The same for each stretch of the step.
        flops: All that is computed, also what is computed again in the backward pass.
        model_flops: Of the transformer without that, as MFU counts.
        base: Parameters of the transformer.
        adapter: Parameters of its adapter.
        moved: Bytes that the process receives to gather weights and sum gradients.
        image_bytes: Of the cache, for each image of the set.
        source_bytes: Of the cache, for each source besides.
    """

    peak: dict[str, int]
    peaks: dict[str, dict[str, int]]
    flops: float
    model_flops: float
    base: int
    adapter: int
    moved: float
    image_bytes: int
    source_bytes: int

    @property
    def total(self) -> int:
        """Bytes at the peak."""
        return sum(self.peak.values())


def trace_step(
    config: DictConfig, world: int, advance: Callable[[int], None] = lambda _: None
) -> Trace:
    """Run one step on fake tensors and return what it takes.

    Args:
        config: Of a training.
        world: Number of processes; this one plays the first.
        advance: Is called with 1 for each block that ran, forward or again in the backward pass.
    """
    strategy = instantiate(config.trainer.get("strategy"))
    module = build_shapes(config)
    base, adapter, weight_bytes = _count(module)
    mode = FakeTensorMode(allow_non_fake_inputs=True)  # of constants, such as a template
    make_fake(module, mode)
    ledger = Ledger()
    operations = Operations()
    with _processes(world), ExitStack() as opened:
        if isinstance(strategy, ShardedStrategy):
            mesh = init_device_mesh("cpu", (world,))
            with mode:
                spread(module.backbone, mesh, param_dtype=strategy.param_dtype)
        opened.enter_context(mode)
        batch = fake_batch(config, module, config.data.batch_size)
        _prime(config, module)
        _label(ledger, module, batch)
        for block in module.backbone.transformer.transformer_blocks:
            block.register_forward_pre_hook(lambda *_: advance(1))
        opened.enter_context(operations)
        opened.enter_context(ledger)
        _step(config, module, batch, ledger)
    images, text = num_tokens(batch)
    sequences = 2 * config.data.batch_size
    return Trace(
        peak=ledger.peak,
        peaks=ledger.peaks,
        flops=operations.total,
        model_flops=sequences * step_flops(module.backbone.transformer, images, text),
        base=base,
        adapter=adapter,
        moved=_moved(strategy, world, weight_bytes, 4 * adapter),
        image_bytes=_row_bytes(
            batch.target_a, batch.feature_a, batch.identity_a, batch.landmarks_a
        ),
        source_bytes=_row_bytes(batch.neutral, *[batch.suffix_a] * len(EXPRESSIONS)),
    )


def _step(config: DictConfig, module: PixelSmile, batch: TripletBatch, ledger: Ledger) -> None:
    """Compute the loss, its gradients and the optimizer's step, as the trainer does."""
    optimizer = module.make_optimizer(module.backbone.adapter_parameters())
    mixed = config.trainer.precision == "bf16-mixed"
    with torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext():
        loss = _loss(module, batch)
    _keep_gradients(ledger, module)
    with ledger.at_work("encoders", "backward"):
        loss.backward()
    with ledger.at_work("optimizer", "step"):
        _update(config, optimizer)


def _update(config: DictConfig, optimizer: torch.optim.Optimizer) -> None:
    """Clip the gradients and change the adapter."""
    if config.trainer.gradient_clip_val:
        for group in optimizer.param_groups:
            nn.utils.clip_grad_norm_(group["params"], config.trainer.gradient_clip_val)
    optimizer.step()


def _prime(config: DictConfig, module: PixelSmile) -> None:
    """Let DTensor work out shapes before anything is counted.

    It does so once for each operation, on tensors that are not spread, which would be counted.
    """
    parameters = module.backbone.adapter_parameters()
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    optimizer = module.make_optimizer(parameters)
    _update(config, optimizer)
    optimizer.zero_grad()


def _loss(module: PixelSmile, batch: TripletBatch) -> torch.Tensor:
    """Return the loss of Eq. 9, as the training step does."""
    terms, _ = module.terms(batch)
    rest = module.triplet_weight * terms.triplet + module.identity_weight * terms.identity
    return terms.flow + rest


def _count(module: PixelSmile) -> tuple[int, int, int]:
    """Return the parameters of the transformer's base and of its adapter, and the bytes of all."""
    counts, size = [0, 0], 0
    for name, parameter in module.backbone.transformer.named_parameters():
        counts[is_adapter(name)] += parameter.numel()
        size += parameter.nbytes
    return counts[0], counts[1], size


def _moved(strategy: Any, world: int, weights: int, gradients: int) -> float:
    """Return the bytes that one of some processes receives in a step.

    Spread weights are gathered for the forward and for the backward pass; a gradient is summed in
    parts, and where weights are not spread the parts are then sent around.
    """
    others = (world - 1) / world
    spread_out = isinstance(strategy, ShardedStrategy)
    return others * (2 * weights + gradients if spread_out else 2 * gradients)


def _row_bytes(*tensors: torch.Tensor) -> int:
    """Return the bytes of one row of each tensor."""
    return sum(tensor[0].nbytes for tensor in tensors)


def _label(ledger: Ledger, module: PixelSmile, batch: TripletBatch) -> None:
    """Tell a ledger what is there before the step, and who makes what in it."""
    ledger.assign_module(module.backbone, "parameters")
    ledger.assign_module(module.autoencoder, "decoder")
    for buffer in module.buffers():
        ledger.assign(buffer, "buffers")
    for network in (module.encoder, module.recogniser, module.scorer):
        if network is not None:
            ledger.assign_module(network, "encoders")
    for tensor in batch:
        ledger.assign(tensor, "buffers")
    ledger.watch(module.backbone.transformer, "activations")
    ledger.watch(module.autoencoder.vae.decoder, "decoder")
    ledger.watch(module.encoder, "encoders")
    ledger.watch(module.recogniser, "encoders")


def _keep_gradients(ledger: Ledger, module: PixelSmile) -> None:
    """Count each gradient as one as soon as it is there."""
    for parameter in module.backbone.adapter_parameters():
        parameter.register_post_accumulate_grad_hook(
            lambda parameter: ledger.assign(parameter.grad, "gradients")
        )


@contextmanager
def _processes(world: int) -> Iterator[None]:
    """Pretend to be the first of some processes that answer at once."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=world)
    try:
        yield
    finally:
        dist.destroy_process_group()
