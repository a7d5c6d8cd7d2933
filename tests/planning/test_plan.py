"""The plan is held against steps that really run, and against counts that are known."""

import pytest
import torch
from hydra import compose, initialize_config_dir

import pixelsmile.stack  # noqa: F401 - registers the resolvers of the configs
from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.errors import UserError
from pixelsmile.plan import check, processes_of, verdict
from pixelsmile.planning.estimate import Assumptions, Straight, changes
from pixelsmile.planning.ledger import Ledger
from pixelsmile.planning.shapes import build_backbone
from pixelsmile.planning.step import trace_step
from pixelsmile.planning.table import shallow, straight

TINY = ("model=tiny", "trainer.devices=1", "data.batch_size=2", "model.sizes.image=64")


def planned(*overrides):
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return compose("plan", list(overrides))


def real_peak(config):
    """Bytes that one real step needs at most, as torch's allocator counts them."""
    from pixelsmile.planning.shapes import fake_batch
    from pixelsmile.stack import build_module

    module = build_module(config).train()
    module.identity.max_sigma = None
    batch = type(fake_batch(config, module, 1))(
        *(torch.rand(x.shape).to(x.dtype) for x in fake_batch(config, module, 2))
    )
    optimizer = module.make_optimizer(module.backbone.adapter_parameters())
    held = {x.untyped_storage()._cdata: x.untyped_storage().nbytes() for x in batch}
    for tensor in [*module.parameters(), *module.buffers()]:
        held[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        terms, _ = module.terms(batch)
        rest = module.triplet_weight * terms.triplet + module.identity_weight * terms.identity
        (terms.flow + rest).backward()
        optimizer.step()
    allocated = [
        event.typed[1].total_allocated
        for event in _flat(profiler.profiler.kineto_results.experimental_event_tree())
        if hasattr(event.typed[1], "total_allocated")
    ]
    return sum(held.values()) + max(allocated)


def _flat(events):
    for event in events:
        yield event
        yield from _flat(event.children)


@pytest.mark.slow
@pytest.mark.parametrize(
    "saving",
    [
        (),
        ("model.backbone.gradient_checkpointing=true",),
        ("model.backbone.gradient_checkpointing=true", "model.decoding.checkpoint=true"),
    ],
    ids=["plain", "blocks again", "blocks and decoder again"],
)
def test_the_planned_peak_is_within_15_percent_of_a_real_step(saving):
    config = planned(*TINY, *saving)
    measured, computed = real_peak(config), trace_step(config, 1).total
    assert computed == pytest.approx(measured, rel=0.15), (computed, measured)


def test_the_full_size_model_has_the_published_counts():
    backbone = build_backbone(planned("model=qwen_image_edit_2511"))
    counts = {True: 0, False: 0}
    for name, parameter in backbone.transformer.named_parameters():
        counts[".lora_" in name] += parameter.numel()
    assert counts == {False: 20_430_401_088, True: 424_673_280}


def test_the_ledger_counts_what_is_alive_and_remembers_the_largest_moment():
    with Ledger() as ledger:
        first = torch.empty(1000)
        second = torch.empty(500)
        del first
        third = torch.empty(100)
    assert ledger.now["activations"] == 4 * 600
    assert sum(ledger.peak.values()) == 4 * 1500
    assert second.numel() + third.numel() == 600


def test_the_ledger_counts_views_once():
    with Ledger() as ledger:
        whole = torch.empty(10, 10)
        views = [whole.T, whole[2:], whole.view(-1)]
    assert ledger.now["activations"] == 400
    assert len(views) == 3


@pytest.mark.slow
def test_a_deeper_model_is_what_the_shallow_ones_say(tmp_path):
    config = planned("model=tiny", "trainer=fsdp", "trainer.devices=8", "model.sizes.image=64")
    line = straight(config, checkpointing=True, advance=lambda _: None)
    deeper = shallow(config, 7, tmp_path / "deeper")
    deeper.model.backbone.gradient_checkpointing = True
    deeper.data.batch_size = 3
    assert sum(line.at(7, 3, 8).values()) == pytest.approx(trace_step(deeper, 8).total, rel=0.03)


def test_a_straight_line_goes_through_what_it_was_made_of_and_on():
    def peak(layers, batch):
        return {"backward": {"parameters": 10 * layers, "activations": 5 * layers * batch + 7}}

    corners = {(n, b): peak(n, b) for n in (2, 4) for b in (1, 2)}
    line = Straight(corners, world=8)
    assert line.at(60, 4, 8) == {"parameters": 600, "activations": 1207}
    assert line.at(60, 4, 2) == {"parameters": 2400, "activations": 1207}


@pytest.mark.parametrize("devices", ["auto", "0", "-1"])
def test_a_plan_wants_to_know_the_number_of_gpus(devices):
    with pytest.raises(UserError, match=r"trainer.devices=8"):
        processes_of(planned("trainer=fsdp", f"trainer.devices={devices}"))


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ("plan.efficiency=0", "plan.efficiency is 0"),
        ("plan.reserved=-1", "plan.reserved is -1"),
        ("data.batch_size=0", "data.batch_size is 0"),
    ],
)
def test_impossible_numbers_are_refused_by_name(setting, match):
    with pytest.raises(UserError, match=match):
        check(planned(setting))


def test_the_verdict_names_the_change_that_makes_it_fit():
    config = planned("trainer=fsdp", "trainer.devices=8", "gpu=h100", "data.batch_size=4")
    assumed = Assumptions(0.4, 0.7, 2e9, 0.05)
    fits = {"parameters": int(10e9), "activations": int(20e9)}
    assert verdict(config, fits, 8, assumed).startswith("fits: 33.50 of 80.00 GB")
    config.model.backbone.gradient_checkpointing = True
    large = {"parameters": int(10e9), "activations": int(90e9)}
    assert "does not fit" in verdict(config, large, 8, assumed)
    assert "data.batch_size=2" in verdict(config, large, 8, assumed)


def test_changes_need_less_and_less_memory_of_the_spread_parts():
    peak = {"parameters": 40e9, "activations": 4e9}
    found = list(changes(peak, checkpointing=True, batch=1, world=1, spread=False))
    assert found[0].settings == ("trainer=fsdp", "trainer.devices=2")
    assert found[0].peak["parameters"] == 20e9


def test_the_time_is_that_of_the_slower_of_computing_and_communicating():
    assumed = Assumptions(0.5, 0.5, 0, 0)
    assert assumed.seconds(1e15, 0, 1e15, 1e9) == 2
    assert assumed.seconds(1e15, 4e9, 1e15, 1e9) == 8
