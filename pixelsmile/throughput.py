"""How fast a training is and where its time goes: samples, tokens, FLOPs, shares of a step.

Shapes: B triplets, C h w latent, L text tokens.
"""

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from torch import nn

from pixelsmile.data.datamodule import TripletBatch
from pixelsmile.ranks import own_place

STAGES = ("data", "forward", "decode", "backward", "optimizer", "validation")
"""Where time goes. `decode` is the VAE's forward; its backward counts as backward. `data` is the
wait for a batch with what callbacks do between two steps, above all saving."""


def num_tokens(batch: TripletBatch) -> tuple[int, int]:
    """Return the image and text tokens of one sequence: target, source, prompt."""
    patches = [x.shape[-2] * x.shape[-1] // 4 for x in (batch.target_a, batch.source)]
    return sum(patches), batch.neutral.shape[1]


def step_flops(transformer: nn.Module, image_tokens: int, text_tokens: int) -> float:
    """Return what a sequence costs a LoRA's training, forward and backward, in FLOPs.

    Weights of the frozen base cost their product and the gradient of its input, those of the
    adapter also the gradient of the weight. A product of n tokens with an a x b matrix is 2nab.
    Recomputing for gradient checkpointing does not count, as usual for MFU; nor do norms,
    softmax, and the networks beside the transformer. Of what comes before the first adapter the
    gradients are counted though nobody needs them, 1 % or less in a model of 60 blocks.

    Args:
        transformer: Qwen-Image's, with or without adapters.
        image_tokens: Of the target and the source together.
        text_tokens: Of the prompt.
    """
    total = 0.0
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear):
            learns = module.weight.requires_grad
            tokens = _tokens_of(name, image_tokens, text_tokens)
            products = 3 if learns else 2 if tokens > 1 else 1  # nothing learns below the time
            total += products * 2 * tokens * module.in_features * module.out_features
    config: Any = transformer.config
    width = config.num_attention_heads * config.attention_head_dim
    length = image_tokens + text_tokens
    # Queries by keys and weights by values, forward; twice that backward.
    return total + config.num_layers * 3 * 4 * length**2 * width


def _tokens_of(name: str, image_tokens: int, text_tokens: int) -> int:
    """Return how many tokens a linear layer sees, by its name in the transformer."""
    if any(part in name for part in ("_mod.", "norm_out", "time_text_embed")):
        return 1  # once per sequence
    text = ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out", "txt_mlp", "txt_in")
    return text_tokens if any(part in name for part in text) else image_tokens


def peak_flops_of(device: torch.device, table: Mapping[str, float]) -> float | None:
    """Return a device's dense FLOPs per second by its name; None for a CPU or an unknown one.

    Args:
        device: In use.
        table: FLOPs by a part of the name that torch gives a device.
    """
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((flops for part, flops in table.items() if part in name), None)


class Stopwatch:
    """Add up the time between marks, by stage; on a GPU the GPU's own.

    Args:
        device: Whose time counts. A GPU is not waited for until `take`.
    """

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self._marks: list[tuple[str, Any]] = []

    def mark(self, stage: str) -> None:
        """Begin a stage, which ends the one before."""
        moment: Any = time.perf_counter()
        if self.on_gpu:
            moment = torch.cuda.Event(enable_timing=True)
            moment.record()
        self._marks.append((stage, moment))

    def take(self, stage: str) -> dict[str, float]:
        """Return seconds by stage since the last call, and go on with a stage."""
        self.mark(stage)
        if self.on_gpu:
            self._marks[-1][1].synchronize()
        seconds: dict[str, float] = defaultdict(float)
        for (name, start), (_, end) in zip(self._marks, self._marks[1:], strict=False):
            seconds[name] += start.elapsed_time(end) / 1000 if self.on_gpu else end - start
        self._marks = self._marks[-1:]
        return dict(seconds)


class Throughput(Callback):
    """Log how fast the training is, on all processes together, and where its time goes.

    Each value covers the steps since the one before: `speed/samples_per_second` (triplets),
    `speed/tokens_per_second` (of both branches), `speed/mfu` (share of the devices' peak), and
    `time/<stage>`, shares that add up to 1. `speed/samples` counts all triplets of the run.

    Args:
        peak_flops: Dense FLOPs per second by a part of the device's name, see `peak_flops_of`.
    """

    def __init__(self, peak_flops: Mapping[str, float]) -> None:
        self.table = dict(peak_flops)
        self.watch = Stopwatch(torch.device("cpu"))
        self.peak: float | None = None
        self.training = False  # inside of a step's forward, where a decode is one of its own
        self.samples = 0  # of all processes, since the run began
        self.sequences = self.tokens = 0
        self.flops = 0.0
        self._hooks: list[Any] = []

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start the watch, and see when the decoder runs."""
        device = trainer.strategy.root_device
        self.watch = Stopwatch(device)
        self.peak = peak_flops_of(device, self.table)
        decoder = pl_module.autoencoder.vae.decoder
        self._hooks = [
            decoder.register_forward_pre_hook(lambda *_: self._within("decode")),
            decoder.register_forward_hook(lambda *_: self._within("forward")),
        ]
        self.watch.mark("data")

    def _within(self, stage: str) -> None:
        if self.training:
            self.watch.mark(stage)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: TripletBatch, batch_idx: int
    ) -> None:
        """Count the batch; the forward begins."""
        image, text = num_tokens(batch)
        everywhere = len(batch.source) * own_place().world
        self.samples += everywhere
        self.sequences += everywhere
        self.tokens += 2 * everywhere * (image + text)
        transformer = pl_module.backbone.transformer
        self.flops += 2 * everywhere * step_flops(transformer, image, text)
        self.training = True
        self.watch.mark("forward")

    def on_before_backward(self, trainer: Trainer, pl_module: Any, loss: Any) -> None:
        """The forward ends."""
        self.training = False
        self.watch.mark("backward")

    def on_after_backward(self, trainer: Trainer, pl_module: Any) -> None:
        """The backward ends; what follows up to the end of the batch is the optimizer's."""
        self.watch.mark("optimizer")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log, every so many steps."""
        self.watch.mark("data")
        boundary = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        every: int = trainer.log_every_n_steps  # pyright: ignore[reportAttributeAccessIssue]
        if boundary and trainer.global_step % every == 0:
            self._log(pl_module)

    def _log(self, module: Any) -> None:
        seconds = self.watch.take("data")
        total = sum(seconds.values())
        values = {
            "speed/samples": float(self.samples),
            "speed/samples_per_second": self.sequences / total,
            "speed/tokens_per_second": self.tokens / total,
        }
        if self.peak is not None:
            values["speed/mfu"] = self.flops / total / (self.peak * own_place().world)
        values |= {f"time/{stage}": seconds.get(stage, 0.0) / total for stage in STAGES}
        for name, value in values.items():
            module.log(name, value, batch_size=1)
        self.sequences = self.tokens = 0
        self.flops = 0.0

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Validation begins."""
        self.watch.mark("validation")

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Validation ends."""
        self.watch.mark("data")

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Leave the decoder alone."""
        for hook in self._hooks:
            hook.remove()

    def state_dict(self) -> dict[str, Any]:
        """Return the count of samples."""
        return {"samples": self.samples}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.samples = state_dict["samples"]
