"""One training step of the full-size module on fake tensors, with the memory and FLOPs counted.

It is a step like the second and all after it: the optimizer has its state before the forward pass,
and the gradients of the step before are still there.
"""

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
from torch.utils._pytree import tree_leaves

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
        optimizer = _first_update(config, module)
        _label(ledger, module, batch, optimizer)
        for block in module.backbone.transformer.transformer_blocks:
            block.register_forward_pre_hook(lambda *_: advance(1))
        opened.enter_context(operations)
        opened.enter_context(ledger)
        _step(config, module, batch, optimizer, ledger)
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


def _step(
    config: DictConfig,
    module: PixelSmile,
    batch: TripletBatch,
    optimizer: torch.optim.Optimizer,
    ledger: Ledger,
) -> None:
    """Compute the loss, its gradients and the optimizer's step, as the trainer does."""
    mixed = config.trainer.precision == "bf16-mixed"
    with torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext():
        loss = _loss(module, batch)
    if config.trainer.accumulate_grad_batches == 1:
        optimizer.zero_grad()  # only now, as Lightning; accumulated ones stay for the backward pass
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


def _first_update(config: DictConfig, module: PixelSmile) -> torch.optim.Optimizer:
    """Return the optimizer after a first step, with its state, and leave the gradients of it.

    Nobody counts this step. DTensor works shapes out in it, once for each operation and on tensors
    that are not spread.
    """
    parameters = module.backbone.adapter_parameters()
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    optimizer = module.make_optimizer(parameters)
    _update(config, optimizer)
    return optimizer


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


def _label(
    ledger: Ledger, module: PixelSmile, batch: TripletBatch, optimizer: torch.optim.Optimizer
) -> None:
    """Tell a ledger what is there before the step, and who makes what in it."""
    for parameter in module.backbone.adapter_parameters():
        ledger.assign(parameter.grad, "gradients")
    for value in tree_leaves(list(optimizer.state.values())):
        if isinstance(value, torch.Tensor):
            ledger.assign(value, "optimizer")
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
