"""Speed is counted over all processes, FLOPs are those that torch counts, shares add up to 1."""

import time
from types import SimpleNamespace

import pytest
import torch
from lightning import LightningModule
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pixelsmile import throughput
from pixelsmile.faces.tiny.architectures import LATENT_CHANNELS, TEXT_WIDTH, tiny_transformer
from pixelsmile.models.backbone import Backbone
from pixelsmile.ranks import Place
from pixelsmile.throughput import (
    STAGES,
    Stopwatch,
    Throughput,
    num_tokens,
    peak_flops_of,
    step_flops,
)
from tests.tiny_random import random_batch

EDGE = 12


def test_tokens_are_the_patches_of_target_and_source_and_the_words(generator):
    batch = random_batch(generator, image=96)
    batch = batch._replace(source=batch.source[..., :6, :6])
    assert num_tokens(batch) == (EDGE * EDGE // 4 + 9, 20)


def test_flops_of_a_block_are_those_that_torch_counts(generator):
    """Forward and backward of one sequence; the ends of the model, which differ, cancel out."""
    noisy = torch.randn(1, LATENT_CHANNELS, EDGE, EDGE, generator=generator)
    text = torch.randn(1, 20, TEXT_WIDTH, generator=generator)
    counted, expected = [], []
    for layers in (2, 4):
        backbone = Backbone(tiny_transformer(0, layers=layers, heads=2), rank=4, alpha=4)
        # The math back end is made of products that torch counts; a CPU's fused one is not.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            backbone(noisy, torch.tensor([0.5]), noisy, text).sum().backward()
        counted.append(counter.get_total_flops())
        expected.append(step_flops(backbone.transformer, 2 * EDGE * EDGE // 4, 20))
    assert counted[1] - counted[0] == pytest.approx(expected[1] - expected[0], rel=0.02)
    assert counted[1] == pytest.approx(expected[1], rel=0.08)  # the ends: less without an adapter


def test_peak_is_found_by_a_part_of_the_name_and_a_cpu_has_none(monkeypatch):
    table = {"H100": 9.9e14, "A100": 3.1e14}
    assert peak_flops_of(torch.device("cpu"), table) is None
    names = {0: "NVIDIA A100-SXM4-80GB", 1: "Some other card"}
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: names[device.index])
    assert peak_flops_of(torch.device("cuda", 0), table) == 3.1e14
    assert peak_flops_of(torch.device("cuda", 1), table) is None


def test_stopwatch_adds_up_what_lies_between_marks(monkeypatch):
    moments = iter([0.0, 1.0, 3.0, 4.0, 4.5, 10.0, 11.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))
    watch = Stopwatch(torch.device("cpu"))
    for stage in ("forward", "decode", "forward", "data"):
        watch.mark(stage)
    assert watch.take("data") == {"forward": 2.0, "decode": 2.0, "data": 0.5}
    watch.mark("forward")
    assert watch.take("data") == {"data": 5.5, "forward": 1.0}


class Module(LightningModule):
    """What the callback looks at."""

    def __init__(self):
        super().__init__()
        self.backbone = Backbone(tiny_transformer(0, layers=1, heads=2), rank=2, alpha=2)
        decoder = torch.nn.Identity()
        self.autoencoder = SimpleNamespace(vae=SimpleNamespace(decoder=decoder))
        self.logged = {}

    def log(self, name, value, **kwargs):
        self.logged[name] = value


@pytest.fixture
def trained(generator, monkeypatch):
    """Two steps of one second each on four processes, seen by the callback."""
    ticks = iter(x / 10 for x in range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))  # a tenth between two marks
    monkeypatch.setattr(throughput, "own_place", lambda: Place(0, 4, 0))
    monkeypatch.setattr(throughput, "peak_flops_of", lambda device, table: 1e9)
    trainer = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        accumulate_grad_batches=1,
        log_every_n_steps=2,
        global_step=0,
    )
    module, callback = Module(), Throughput({})
    batch = random_batch(generator, size=3)
    callback.on_train_start(trainer, module)
    for step in range(2):
        callback.on_train_batch_start(trainer, module, batch, step)
        module.autoencoder.vae.decoder(torch.zeros(1))
        callback.on_before_backward(trainer, module, None)
        module.autoencoder.vae.decoder(torch.zeros(1))  # again, of a checkpointed decode
        callback.on_after_backward(trainer, module)
        trainer.global_step += 1
        callback.on_train_batch_end(trainer, module, None, batch, step)
        if step == 0:
            assert not module.logged
            callback.on_validation_start(trainer, module)
            callback.on_validation_end(trainer, module)
    return module, callback, batch


def test_shares_of_time_add_up_to_one(trained):
    module, *_ = trained
    shares = {stage: module.logged[f"time/{stage}"] for stage in STAGES}
    assert sum(shares.values()) == pytest.approx(1)
    tenths = {"forward": 4, "decode": 2, "backward": 2, "optimizer": 2, "validation": 1, "data": 4}
    for stage, count in tenths.items():
        assert shares[stage] == pytest.approx(count / 15), stage


def test_speed_counts_the_samples_of_all_processes(trained):
    module, callback, batch = trained
    seconds, sequences = 1.5, 2 * 3 * 4 * 2  # branches, batch, processes, steps
    image, text = num_tokens(batch)
    flops = sequences * step_flops(module.backbone.transformer, image, text)
    assert module.logged["speed/samples"] == callback.state_dict()["samples"] == sequences / 2
    expected = {
        "samples_per_second": sequences / 2 / seconds,
        "tokens_per_second": sequences * (image + text) / seconds,
        "mfu": flops / seconds / (4 * 1e9),
    }
    for name, value in expected.items():
        assert module.logged[f"speed/{name}"] == pytest.approx(value), name


def test_count_of_samples_goes_on_after_a_resume(trained):
    _, callback, _ = trained
    resumed = Throughput({})
    resumed.load_state_dict(callback.state_dict())
    assert resumed.samples == callback.samples > 0
