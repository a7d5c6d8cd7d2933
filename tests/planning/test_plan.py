"""The plan is held against steps that really run, and against counts that are known."""

import io
import re

import pytest
import torch
from hydra import compose, initialize_config_dir
from rich.console import Console

import pixelsmile.stack  # noqa: F401 - registers the resolvers of the configs
from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.errors import UserError
from pixelsmile.plan import check, cost_table, on_gpu, plan, processes_of, table, verdict
from pixelsmile.planning import table as tables
from pixelsmile.planning.estimate import Assumptions, Straight, changes
from pixelsmile.planning.ledger import Ledger
from pixelsmile.planning.shapes import build_backbone
from pixelsmile.planning.step import Trace, trace_step
from pixelsmile.planning.table import shallow, straight

TINY = ("model=tiny", "trainer.devices=1", "data.batch_size=2", "model.sizes.image=64")


def planned(*overrides):
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return compose("plan", list(overrides))


def real_peak(config):
    """Bytes that the second real step needs at most, as torch's allocator counts them.

    The first has neither gradients nor the optimizer's state in its forward and backward pass.
    """
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
        for _ in range(2):
            terms, _ = module.terms(batch)
            rest = module.triplet_weight * terms.triplet + module.identity_weight * terms.identity
            loss = terms.flow + rest
            optimizer.zero_grad()  # after the forward pass, as Lightning
            loss.backward()
            optimizer.step()
            del terms, rest, loss
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


@pytest.fixture
def small(tmp_path):
    """A plan of the tiny model with two blocks."""
    return shallow(planned(*TINY), 2, tmp_path / "small")


@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_step_begins_with_what_the_step_before_has_left(small, accumulated):
    """Both Adam moments all the time; gradients in the forward pass, and added to or made anew."""
    small.trainer.accumulate_grad_batches = accumulated
    learning = build_backbone(small).adapter_parameters()
    gradients = sum(parameter.nbytes for parameter in learning)
    trace = trace_step(small, 1)
    for parts in trace.peaks.values():
        assert parts["optimizer"] >= 2 * gradients
    forward = next(parts for name, parts in trace.peaks.items() if name.endswith("forward"))
    assert forward["gradients"] == gradients
    after = min(parts["gradients"] for parts in trace.peaks.values())
    assert after == gradients if accumulated > 1 else after < gradients


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


def test_8_bit_optimizer_is_refused_on_spread_weights_alone():
    with pytest.raises(UserError, match=r"is bitsandbytes\.optim\.AdamW8bit, .*trainer=ddp"):
        check(planned("trainer=fsdp", "optimizer=adamw_8bit"))
    check(planned("trainer=ddp", "optimizer=adamw_8bit"))


def test_the_verdict_names_the_change_that_makes_it_fit():
    config = planned("trainer=fsdp", "trainer.devices=8", "gpu=h100", "data.batch_size=4")
    assumed = Assumptions(0.4, 0.7, 2e9, 0.05)
    fits = {"parameters": int(10e9), "activations": int(20e9)}
    assert verdict(config, fits, 8, assumed).startswith("fits: 33.50 of 80.00 GB")
    config.model.backbone.gradient_checkpointing = True
    large = {"parameters": int(10e9), "activations": int(90e9)}
    assert "does not fit" in verdict(config, large, 8, assumed)
    assert "data.batch_size=2" in verdict(config, large, 8, assumed)


@pytest.mark.parametrize(("gpu", "way_out"), [("h100", r"\(gpu=h200\),"), ("h200", "memory, or")])
def test_the_verdict_offers_no_gpu_that_is_there_already(gpu, way_out):
    config = planned("trainer=fsdp", "trainer.devices=8", f"gpu={gpu}", "data.batch_size=1")
    said = verdict(config, {"activations": int(9e12)}, 8, Assumptions(0.4, 0.7, 2e9, 0.05))
    assert re.search(f"None of the settings is enough: .*{way_out}", said)


def test_devices_are_counted_per_node():
    config = planned("trainer=fsdp", "trainer.devices=2", "trainer.num_nodes=2", "gpu=h100")
    config.data.batch_size, config.model.backbone.gradient_checkpointing = 1, True
    said = verdict(config, {"parameters": int(100e9)}, 4, Assumptions(0.4, 0.7, 2e9, 0.05))
    assert "trainer=fsdp trainer.devices=4 (about 54.50 GB" in said


def test_each_change_keeps_those_before_it():
    peak = {"parameters": 40e9, "activations": 4e9}
    *_, eight_bit, offload = changes(peak, checkpointing=True, batch=2, world=1, spread=False)
    kept = (
        "data.batch_size=1",
        "trainer=fsdp",
        "trainer.devices=8",
        "model.backbone.eight_bit=true",
    )
    assert eight_bit.settings == kept
    assert eight_bit.peak == {
        "parameters": pytest.approx(40e9 / 8 * 0.55),
        "gathered blocks": 0,
        "activations": 2e9,
    } | dict.fromkeys(("gradients", "optimizer", "decoder", "encoders"), 0)
    assert offload.settings == (*kept, "trainer.strategy.cpu_offload=true")
    assert offload.peak["activations"] == 2e9
    assert "parameters" not in offload.peak


def test_8_bits_are_not_offered_twice():
    given = {"checkpointing": True, "batch": 1, "world": 8, "spread": True}
    (only,) = changes({"parameters": 40e9}, **given, eight_bit=True)
    assert only.settings == ("trainer=fsdp", "trainer.strategy.cpu_offload=true")


def test_changes_need_less_and_less_memory_of_the_spread_parts():
    peak = {"parameters": 40e9, "activations": 4e9}
    found = list(changes(peak, checkpointing=True, batch=1, world=1, spread=False))
    assert found[0].settings == ("trainer=fsdp", "trainer.devices=2")
    assert found[0].peak["parameters"] == 20e9


def test_the_time_is_that_of_the_slower_of_computing_and_communicating():
    assumed = Assumptions(0.5, 0.5, 0, 0)
    assert assumed.seconds(1e15, 0, 1e15, 1e9) == 2
    assert assumed.seconds(1e15, 4e9, 1e15, 1e9) == 8


# ---- what is shown --------------------------------------------------------------------------


def text_of(show):
    """Return what is printed on a wide terminal."""
    console = Console(file=io.StringIO(), width=200)
    show(console)
    return console.file.getvalue()


def test_a_plan_shows_every_part_the_counts_and_the_verdict(small):
    learning = sum(p.numel() for p in build_backbone(small).parameters() if p.requires_grad)
    said = text_of(lambda console: plan(small, console))
    for part in ("parameters", "gathered blocks", "gradients", "optimizer", "peak of the step"):
        assert re.search(rf"│ {part} +│ +\d+\.\d\d │", said)
    counted = re.search(r"trainable parameters +│ ([\d,]+) ", said)
    assert int(counted[1].replace(",", "")) >= learning > 0
    assert re.search(r"\nfits: \d\.\d\d of 80\.00 GB of H100, 80 GB\.\nComputed, not run\.\n", said)


def test_what_is_kept_in_the_host_does_not_count_as_memory_of_the_gpu():
    peak = {"parameters": 5, "gathered blocks": 4, "gradients": 3, "optimizer": 2, "decoder": 1}
    assert on_gpu(planned("trainer=single"), peak) == peak
    assert on_gpu(planned("trainer=fsdp"), peak) == peak
    offloaded = planned("trainer=fsdp", "trainer.strategy.cpu_offload=true")
    assert on_gpu(offloaded, peak) == {"gathered blocks": 4, "decoder": 1}


def test_time_and_disk_follow_from_the_step():
    config = planned(
        "trainer=fsdp",
        "gpu.peak_flops=1e15",
        "data.batch_size=4",
        "trainer.accumulate_grad_batches=2",
        "plan.efficiency=0.5",
        "plan.triplets=28800",
        "plan.images=1000",
        "plan.sources=100",
    )
    trace = Trace({}, {}, 5e14, 4e14, 20, 10_000_000, 1e9, image_bytes=10**6, source_bytes=10**7)
    said = text_of(lambda console: console.print(cost_table(config, trace, 8, check(config))))
    shown = dict(re.findall(r"│ (.+?) +│ (.+?) +│", said))
    assert shown["trainable parameters"] == "10,000,000 (20 MB in bfloat16)"
    assert shown["seconds per step at 50% of peak"] == "2.00"  # two batches of one second
    assert shown["hours per epoch of 28,800 triplets"] == "0.2"  # 450 steps of 64
    assert shown["cache of 1,000 images, 100 sources"] == "2.00 GB"


def made_up(config, *, checkpointing, advance):
    """Stand for the traces: 24.004 GB at one batch of 60 layers on 8 processes, checkpointed."""
    size = 20.956e9 if checkpointing else 100e9
    corners = {(n, b): {"step": {"activations": size * b}} for n in (2, 4) for b in (1, 2)}
    return Straight(corners, world=8)


def test_the_table_has_a_row_for_every_setting_and_rounds_no_card_away(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "straight", made_up)
    config = planned("model=qwen_image_edit_2511", "trainer=fsdp")
    config.plan.table = str(tmp_path / "docs" / "memory.md")
    (tmp_path / "docs").mkdir()
    path = tables.write_table(config, Assumptions(0.4, 0.7, 2e9, 0.05))
    page = path.read_text()
    assert len(re.findall(r"^\| o(?:n|ff) \|", page, re.MULTILINE)) == 2 * 4 * 4
    assert "| on | 8 | 1 | 24.01 | no | yes | yes | yes | yes |" in page
    assert "| off | 8 | 1 | 107.00 | no | no | no | no | yes |" in page
    assert "`Qwen/Qwen-Image-Edit-2511` (60 blocks)" in page


def test_a_table_of_shares_is_refused_where_nothing_is_spread():
    with pytest.raises(UserError, match=r"add trainer=fsdp"):
        table(planned("model=qwen_image_edit_2511"))
