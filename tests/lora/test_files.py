"""LoRA files are read whole in every dialect, and written whole or not at all."""

import json
import math
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pixelsmile.errors import UserError
from pixelsmile.lora import Adapter, Layer, read_adapter, write_adapter
from pixelsmile.lora.files import FORMATS
from pixelsmile.models.backbone import LORA_TARGETS
from tests.lora.conftest import ALPHA, LAYERS, RANK

OTHERS = ("comfyui", "kohya")
QUERY = "transformer_blocks.0.attn.to_q"


def assert_same(actual, expected):
    assert actual.layers.keys() == expected.layers.keys()
    for module, layer in expected.layers.items():
        assert torch.equal(actual.layers[module].down, layer.down), module
        assert torch.equal(actual.layers[module].up, layer.up), module
        assert actual.layers[module].alpha == layer.alpha, module
    assert dict(actual.facts) == dict(expected.facts)


def product(layer):
    return layer.scale * layer.up.double() @ layer.down.double()


def metadata_of(file):
    with safe_open(file, "pt") as opened:
        return opened.metadata()


# ---- round trips ----------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", FORMATS)
def test_a_file_is_read_back_bit_by_bit(adapter, tmp_path, dialect):
    file = write_adapter(adapter, tmp_path / "a.safetensors", dialect)
    assert_same(read_adapter(file), adapter)


@pytest.mark.parametrize("dialect", OTHERS)
def test_a_file_survives_the_way_to_another_dialect_and_back(adapter, tmp_path, dialect):
    ours = write_adapter(adapter, tmp_path / "ours")
    there = write_adapter(read_adapter(ours), tmp_path / "there.safetensors", dialect)
    back = write_adapter(read_adapter(there), tmp_path / "back.safetensors")
    again = write_adapter(read_adapter(back), tmp_path / "again.safetensors", dialect)
    for first, second in ((ours, back), (there, again)):
        before, after = load_file(first), load_file(second)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert metadata_of(first) == metadata_of(second)
    tensors, original = load_file(there), load_file(ours)
    prefix = {"comfyui": "diffusion_model.", "kohya": "lora_unet_"}[dialect]
    assert all(name.startswith(prefix) for name in tensors)
    assert len(tensors) == len(original) * 3 // 2


def test_comfyui_and_kohya_names_are_those_their_loaders_look_up(adapter, tmp_path):
    comfyui = load_file(write_adapter(adapter, tmp_path / "c.safetensors", "comfyui"))
    kohya = load_file(write_adapter(adapter, tmp_path / "k.safetensors", "kohya"))
    layer = adapter.layers["transformer_blocks.1.attn.to_out.0"]
    for tensors, module in (
        (comfyui, "diffusion_model.transformer_blocks.1.attn.to_out.0"),
        (kohya, "lora_unet_transformer_blocks_1_attn_to_out_0"),
    ):
        assert torch.equal(tensors[f"{module}.lora_down.weight"], layer.down)
        assert torch.equal(tensors[f"{module}.lora_up.weight"], layer.up)
        assert tensors[f"{module}.alpha"].item() == ALPHA


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_precision_of_the_file_is_kept(adapter, tmp_path, dtype):
    low = adapter.to(dtype)
    for dialect in FORMATS:
        file = write_adapter(low, tmp_path / f"{dialect}.safetensors", dialect)
        assert_same(read_adapter(file), low)


def test_layers_may_differ_in_rank_and_alpha(tmp_path):
    layers = {
        f"transformer_blocks.{i}.attn.to_q": Layer(torch.ones(r, 4), torch.ones(4, r), alpha)
        for i, (r, alpha) in enumerate([(2, 4.0), (2, 4.0), (3, 4.0), (2, 0.5)])
    }
    for dialect in FORMATS:
        file = write_adapter(Adapter(layers), tmp_path / f"{dialect}.safetensors", dialect)
        assert_same(read_adapter(file), Adapter(layers))


# ---- metadata -------------------------------------------------------------------------------


def test_metadata_is_the_least_that_peft_needs_and_the_facts(adapter, tmp_path):
    metadata = metadata_of(write_adapter(adapter, tmp_path))
    config = json.loads(metadata.pop("lora_adapter_metadata"))
    assert config.pop("transformer.target_modules") == sorted(LORA_TARGETS)
    assert config == {"transformer.r": RANK, "transformer.lora_alpha": ALPHA}
    assert metadata == {"format": "pt", **adapter.facts}


@pytest.mark.parametrize("dialect", OTHERS)
def test_alpha_is_said_once(adapter, tmp_path, dialect):
    """Stock diffusers would apply alpha tensors and metadata both."""
    file = write_adapter(adapter, tmp_path / "a.safetensors", dialect)
    assert "lora_adapter_metadata" not in metadata_of(file)


def test_rank_stabilised_scale_is_read_from_the_metadata(adapter, tmp_path):
    file = write_adapter(adapter, tmp_path)
    config = json.loads(metadata_of(file)["lora_adapter_metadata"])
    config["transformer.use_rslora"] = True
    save_file(load_file(file), file, {"lora_adapter_metadata": json.dumps(config)})
    for layer in read_adapter(file).layers.values():
        assert layer.scale == pytest.approx(ALPHA / math.sqrt(RANK))


# ---- scale ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", FORMATS)
def test_baked_file_means_the_same_to_those_who_read_alpha_and_those_who_do_not(
    adapter, tmp_path, dialect
):
    file = write_adapter(adapter.baked(), tmp_path / "a.safetensors", dialect)
    baked = read_adapter(file)
    for module, layer in baked.layers.items():
        assert layer.scale == 1
        expected = product(adapter.layers[module])
        torch.testing.assert_close(product(layer), expected, rtol=1e-6, atol=1e-6)
    assert baked.facts["pixelsmile.baked_scale"] == "3"


def test_baking_twice_changes_nothing_more(adapter):
    assert_same(adapter.baked().baked(), adapter.baked())


def test_the_user_chooses_the_scale(adapter, tmp_path):
    file = write_adapter(adapter, tmp_path)
    for layer in read_adapter(file, scale=0.5).layers.values():
        assert layer.scale == 0.5
    for scale in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UserError, match=r"give a positive number"):
            read_adapter(file, scale=scale)


# ---- files of the release -------------------------------------------------------------------


def test_release_file_has_the_mixture_it_is_known_for(release_file):
    names = list(load_file(release_file))
    renamed = {n.split(".lora.")[0].rpartition("attn.")[2] for n in names if ".lora." in n}
    assert renamed == {"to_q", "to_k", "to_v", "to_out.0"}
    assert sum(".lora_A." in name for name in names) == 8 * LAYERS
    assert "lora_adapter_metadata" not in metadata_of(release_file)


def test_release_file_is_recovered_whole_at_the_chosen_scale(adapter, release_file):
    read = read_adapter(release_file, scale=ALPHA / RANK)
    assert_same(Adapter(read.layers), Adapter(adapter.layers))
    for layer in read_adapter(release_file).layers.values():
        assert (layer.alpha, layer.scale) == (None, 1.0)


def test_what_the_file_does_not_say_is_not_invented(release_file, tmp_path):
    file = write_adapter(read_adapter(release_file), tmp_path / "out.safetensors")
    assert "lora_adapter_metadata" not in metadata_of(file)
    kohya = write_adapter(read_adapter(release_file), tmp_path / "k.safetensors", "kohya")
    assert not any(name.endswith(".alpha") for name in load_file(kohya))


# ---- refusals -------------------------------------------------------------------------------


def test_damaged_files_are_one_clear_error(adapter, tmp_path):
    good = write_adapter(adapter, tmp_path / "good.safetensors").read_bytes()
    bad = tmp_path / "sch\u00f6n [1].safetensors"
    for content in (
        b"",
        b"\x00" * 100,
        b"not a model",
        good[:4],
        good[:200],
        good[:-1],
        good + b"x",
        good[:8] + b"?" + good[9:],
        (2**60).to_bytes(8, "little") + good[8:],
        b"PK\x03\x04" + good,
    ):
        bad.write_bytes(content)
        with pytest.raises(UserError, match=r"\[1\]\.safetensors is no whole safetensors file"):
            read_adapter(bad)


def test_missing_and_ambiguous_places_are_refused(adapter, tmp_path):
    with pytest.raises(UserError, match=r"No LoRA file at .*none\.safetensors"):
        read_adapter(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match=r"holds 0 \.safetensors files"):
        read_adapter(tmp_path)
    write_adapter(adapter, tmp_path / "one.safetensors")
    assert_same(read_adapter(tmp_path), adapter)
    write_adapter(adapter, tmp_path / "two.safetensors")
    with pytest.raises(UserError, match=r"holds 2 \.safetensors files"):
        read_adapter(tmp_path)
    write_adapter(adapter.baked(), tmp_path)
    assert read_adapter(tmp_path).layers[QUERY].scale == 1


def changed(adapter, tmp_path, change):
    file = write_adapter(adapter, tmp_path / "changed.safetensors")
    tensors, metadata = load_file(file), metadata_of(file)
    change(tensors, metadata)
    save_file(tensors, file, metadata)
    return file


NAME = f"transformer.{QUERY}.lora_A.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: t.update({"text.lora_A.weight": t[NAME].clone()}), "1 tensors that belong"),
        (lambda t, m: t.pop(NAME), "1 modules without two matrices"),
        (lambda t, m: t.update({NAME: t[NAME][:1].clone()}), "1 modules without two matrices"),
        (lambda t, m: t.update({NAME: t[NAME][0].clone()}), "1 modules without two matrices"),
        (lambda t, m: t.update({NAME: t[NAME].long()}), "1 modules without two matrices"),
        (
            lambda t, m: t.update({f"diffusion_model.{QUERY}.lora_A.weight": t[NAME].clone()}),
            "1 tensors that repeat another",
        ),
        (
            lambda t, m: t.update({f"{QUERY}.alpha": torch.tensor(0.0)}),
            "alpha of transformer_blocks.0.attn.to_q is 0.0",
        ),
        (
            lambda t, m: t.update({f"{QUERY}.alpha": torch.ones(2)}),
            "alpha of transformer_blocks.0.attn.to_q is nan",
        ),
        (lambda t, m: m.update(lora_adapter_metadata="{"), "is no JSON with transformer.r"),
        (lambda t, m: m.update(lora_adapter_metadata="[1]"), "is no JSON with transformer.r"),
        (lambda t, m: m.update(lora_adapter_metadata="{}"), "is no JSON with transformer.r"),
        (
            lambda t, m: m.update(
                lora_adapter_metadata='{"transformer.r": 0, "transformer.lora_alpha": 1}'
            ),
            "has r=0",
        ),
        (lambda t, m: t.clear() or t.update(weight=torch.ones(2)), "no tensor in it is a LoRA"),
    ],
)
def test_files_that_cannot_be_used_whole_say_why(adapter, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        read_adapter(changed(adapter, tmp_path, change))


def test_unknown_format_lists_the_choices(adapter, tmp_path):
    with pytest.raises(UserError, match=r"format=peft: choose one of diffusers, comfyui, kohya"):
        write_adapter(adapter, tmp_path, "peft")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(adapter, tmp_path, monkeypatch):
    file = write_adapter(adapter, tmp_path)
    before = file.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(OSError, match="No space"):
        write_adapter(adapter.baked(), tmp_path)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]
