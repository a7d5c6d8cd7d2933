"""`verify` says what stock diffusers does with a file; the evidence is stock diffusers itself."""

import io
import json
import sys

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from rich.console import Console
from safetensors.torch import load_file, save_file

from pixelsmile.errors import UserError
from pixelsmile.faces.tiny.architectures import tiny_transformer
from pixelsmile.lora import read_adapter, write_adapter
from pixelsmile.lora.__main__ import main, override
from pixelsmile.lora.files import FORMATS
from pixelsmile.lora.verify import show, verify
from tests.lora.conftest import ALPHA, LAYERS, RANK

SCALE = ALPHA / RANK
QUERY = "transformer_blocks.0.attn.to_q"


def shown(verdict):
    stream = io.StringIO()
    show(verdict, Console(file=stream, width=200))
    return stream.getvalue()


def test_our_own_file_is_fine_in_every_dialect(adapter, transformer, tmp_path):
    for dialect in FORMATS:
        file = write_adapter(adapter, tmp_path / f"{dialect}.safetensors", dialect)
        verdict = verify(file, transformer)
        assert verdict.fine, (dialect, verdict.faults)
        assert verdict.scales == pytest.approx(dict.fromkeys(adapter.layers, SCALE))
        assert f"Fine: stock diffusers loads all {12 * LAYERS} modules at scale 3" in shown(verdict)
        assert "base tiny, steps 800" in shown(verdict)


def test_baked_file_is_applied_at_one_in_every_dialect(adapter, transformer, tmp_path):
    for dialect in FORMATS:
        file = write_adapter(adapter.baked(), tmp_path / f"{dialect}.safetensors", dialect)
        verdict = verify(file, transformer)
        assert verdict.fine, (dialect, verdict.faults)
        assert verdict.scales == pytest.approx(dict.fromkeys(adapter.layers, 1.0))


@torch.no_grad()
def test_reported_scale_is_what_the_stock_transformer_adds(adapter, transformer, tmp_path):
    """The weights are merged by stock diffusers and compared with up @ down by hand."""
    file = write_adapter(adapter, tmp_path)
    scales = verify(file, transformer).scales
    stock = tiny_transformer(0, layers=LAYERS, heads=2)
    before = {m: stock.get_submodule(m).weight.clone() for m in adapter.layers}
    stock.load_lora_adapter(tmp_path, weight_name=file.name)
    stock.fuse_lora()
    for module, layer in adapter.layers.items():
        change = stock.get_submodule(module).base_layer.weight - before[module]
        expected = scales[module] * layer.up @ layer.down
        torch.testing.assert_close(change, expected, rtol=1e-4, atol=1e-4)


def test_file_without_alpha_is_said_to_apply_at_one(adapter, transformer, tmp_path):
    file = write_adapter(adapter, tmp_path)
    save_file(load_file(file), file)
    verdict = verify(file, transformer)
    assert verdict.fine
    assert set(verdict.scales.values()) == {1.0}
    assert set(verdict.declared.values()) == {None}
    assert "names no alpha, so loaders apply scale 1" in shown(verdict)


def test_four_of_twelve_kinds_of_a_release_file_are_skipped_and_an_export_mends_it(
    adapter, release_file, transformer, tmp_path
):
    verdict = verify(release_file, transformer)
    skipped = {module.rpartition("attn.")[2] for module in verdict.skipped}
    assert skipped == {"to_q", "to_k", "to_v", "to_out.0"}
    assert len(verdict.skipped) == 4 * LAYERS
    assert not verdict.fine
    text = shown(verdict)
    assert "8 modules are skipped by stock diffusers, silently" in text
    assert "lora export" in text
    mended = write_adapter(read_adapter(release_file, scale=SCALE), tmp_path / "m.safetensors")
    verdict = verify(mended, transformer)
    assert verdict.fine
    assert verdict.scales == pytest.approx(dict.fromkeys(adapter.layers, SCALE))


def test_alpha_said_twice_is_found_out(adapter, transformer, tmp_path):
    """With tensors and metadata both, stock diffusers applies the square of the scale."""
    ours = write_adapter(adapter, tmp_path / "ours.safetensors")
    file = write_adapter(adapter, tmp_path / "kohya.safetensors", "kohya")
    from safetensors import safe_open

    with safe_open(ours, "pt") as opened:
        metadata = opened.metadata()
    save_file(load_file(file), file, metadata)
    verdict = verify(file, transformer)
    assert not verdict.fine
    assert verdict.scales[QUERY] == pytest.approx(SCALE**2)
    assert "modules get another scale than the file names" in shown(verdict)


def change(file, edit):
    tensors = load_file(file)
    edit(tensors)
    save_file(tensors, file)


def test_what_does_not_belong_is_listed(adapter, transformer, tmp_path):
    file = write_adapter(adapter, tmp_path / "a.safetensors", "comfyui")
    change(file, lambda t: t.update({"lora_te_encoder.lora_up.weight": torch.ones(2, 2)}))
    verdict = verify(file, transformer)
    assert verdict.found.unmatched == ["lora_te_encoder.lora_up.weight"]
    assert not verdict.fine
    assert "1 keys belong to no module" in shown(verdict)


def test_half_a_module_and_broken_numbers_are_listed(adapter, transformer, tmp_path):
    file = write_adapter(adapter, tmp_path)

    def edit(tensors):
        del tensors[f"transformer.{QUERY}.lora_B.weight"]
        tensors["transformer.transformer_blocks.1.img_mlp.net.2.lora_A.weight"][0, 0] = torch.nan

    change(file, edit)
    text = shown(verify(file, transformer))
    assert f"1 modules lack a matrix, or two that fit each other: {QUERY}" in text
    assert "1 modules hold NaN or infinity: transformer_blocks.1.img_mlp.net.2" in text


def test_file_of_another_base_is_told_from_a_fine_one(adapter, tmp_path):
    """Without transformer= the sizes are those of Qwen-Image, 60 blocks 3072 wide."""
    verdict = verify(write_adapter(adapter, tmp_path))
    assert len(verdict.misfits) == 12 * LAYERS
    assert "give the transformer it was trained on" in shown(verdict)


def test_places_without_a_qwen_transformer_are_refused(adapter, tmp_path):
    file = write_adapter(adapter, tmp_path)
    with pytest.raises(UserError, match=r"no config\.json there"):
        verify(file, tmp_path)
    config = tmp_path / "config.json"
    for content, message in (
        ("{", "is no config of a diffusers transformer"),
        ("{}", "is no config of a diffusers transformer"),
        (json.dumps({"_class_name": "FluxTransformer2DModel"}), "describes a Flux"),
        (
            json.dumps({"_class_name": "QwenImageTransformer2DModel", "num_layers": "x"}),
            "no transformer has this config",
        ),
    ):
        config.write_text(content)
        with pytest.raises(UserError, match=message):
            verify(file, config)


# ---- the command ----------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process; return its exit code and outputs."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["lora", *map(str, words)])
        GlobalHydra.instance().clear()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_command_exports_and_verifies(run, adapter, transformer, tmp_path):
    folder = tmp_path / "it's a (folder), \u00e4"
    write_adapter(adapter, folder)
    out = folder / "baked, kohya.safetensors"
    code, text, err = run("export", f"file={folder}", f"out={out}", "format=kohya", "--bake")
    assert (code, err) == (0, "")
    assert "24 modules at scale 1 in" in text
    assert read_adapter(out).layers[QUERY].scale == 1
    code, text, err = run("verify", f"file={out}", f"transformer={transformer}")
    assert (code, err) == (0, "")
    assert "Fine: stock diffusers loads all 24 modules at scale 1." in text


def test_command_says_by_its_exit_code_that_a_file_is_not_fine(run, release_file, transformer):
    code, text, _ = run("verify", f"file={release_file}", f"transformer={transformer}")
    assert code == 1
    assert "Not fine." in text


def test_command_chooses_scale_and_precision(run, release_file, tmp_path):
    out = tmp_path / "a.safetensors"
    code, *_ = run("export", f"file={release_file}", f"out={out}", "scale=2.5", "dtype=bfloat16")
    assert code == 0
    layer = read_adapter(out).layers[QUERY]
    assert (layer.scale, layer.up.dtype) == (2.5, torch.bfloat16)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "No LoRA command None"),
        (("convert",), "No LoRA command 'convert'"),
        (("export", "out=a.safetensors"), "file= is missing"),
        (("export", "file=none.safetensors", "out=a"), "No LoRA file at none.safetensors"),
        (("export", "file=a", "out=b", "scale=two"), "scale=two is no number"),
        (("verify",), "file= is missing"),
        (("verify", "file=none"), "No LoRA file at none"),
    ],
)
def test_command_refuses_in_one_line(run, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*words)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["a b", "it's", "a\\", "a\\'b", "(1), [2]", "\u00e4"])
def test_any_path_reaches_the_command_as_it_is(path):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (parsed,) = OverridesParser.create().parse_overrides([override(f"file={path}")])
    assert parsed.value() == path
