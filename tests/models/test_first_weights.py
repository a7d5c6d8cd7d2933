"""Rows of a folder's tensors are read by themselves, and first adapters depend on names alone."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from pixelsmile.errors import UserError
from pixelsmile.models.backbone import Backbone
from pixelsmile.models.first_weights import TensorFolder, first_adapter, stock_name


@pytest.fixture
def folder(tmp_path, generator):
    """Two files with an index, as large models come."""
    tensors = {name: torch.randn(5, 3, generator=generator) for name in ("a", "b")}
    for name, tensor in tensors.items():
        save_file({name: tensor}, tmp_path / f"model-{name}.safetensors")
    places = {name: f"model-{name}.safetensors" for name in tensors}
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return tmp_path, tensors


def test_rows_are_those_of_the_whole_tensor(folder):
    path, tensors = folder
    source = TensorFolder(path)
    assert source.names == {"a", "b"}
    for name, tensor in tensors.items():
        assert torch.equal(source.read(name, slice(1, 4), tensor.shape), tensor[1:4])
        assert torch.equal(source.read(name, slice(None), tensor.shape), tensor)


def test_what_does_not_fit_is_refused_by_name(folder):
    path, _ = folder
    source = TensorFolder(path)
    with pytest.raises(UserError, match="has no tensor 'c'"):
        source.read("c", slice(None), torch.Size([5, 3]))
    with pytest.raises(UserError, match=r"'a' in .* has shape \(5, 3\), the model wants \(5, 4\)"):
        source.read("a", slice(None), torch.Size([5, 4]))
    (path / "model-b.safetensors").write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"model-b\.safetensors cannot be read as weights"):
        TensorFolder(path).read("b", slice(None), torch.Size([5, 3]))
    (path / "model-a.safetensors").unlink()
    with pytest.raises(UserError, match="No weights at"):
        TensorFolder(path).read("a", slice(None), torch.Size([5, 3]))


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="No weights at"):
        TensorFolder(tmp_path / "nowhere")


def test_backbone_without_weights_names_what_its_folder_lacks(tiny_stack, tmp_path):
    kept = tiny_stack / "pipeline" / "transformer"
    (tmp_path / "config.json").write_text((kept / "config.json").read_text())
    file = "diffusion_pytorch_model.safetensors"
    tensors = load_file(kept / file)
    del tensors["img_in.bias"]
    save_file(tensors, tmp_path / file)
    with pytest.raises(UserError, match=r"config\.json in 1 tensors, e\.g\. 'img_in\.bias'"):
        Backbone.without_weights(tmp_path, rank=2)


@pytest.mark.parametrize("eight_bit", [False, True])
def test_backbone_without_weights_would_start_as_the_loaded_one(tiny_stack, eight_bit):
    folder = tiny_stack / "pipeline" / "transformer"
    options = {"rank": 2, "alpha": 4, "seed": 5, "eight_bit": eight_bit}
    loaded = Backbone.from_pretrained(folder, **options)
    empty = Backbone.without_weights(folder, **options)
    expected = dict(loaded.transformer.named_parameters())
    for name, parameter in empty.transformer.named_parameters():
        assert parameter.is_meta
        assert parameter.dtype == expected[name].dtype
        assert parameter.requires_grad == expected[name].requires_grad
        assert torch.equal(empty.initial(name, parameter.shape), expected[name]), name
        rows = slice(1, 2)
        assert torch.equal(empty.initial(name, parameter.shape, rows), expected[name][rows]), name
        del expected[name]
    assert not expected


def test_first_adapter_is_peft_s_gaussian():
    shape = torch.Size([64, 5000])
    down = first_adapter("x.lora_A.default.weight", shape, slice(None), rank=64, seed=0)
    assert down.std().item() == pytest.approx(1 / 64, rel=0.01)
    assert abs(down.mean().item()) < 1e-4
    assert not first_adapter("x.lora_B.default.weight", shape, slice(None), rank=64, seed=0).any()


def test_first_adapter_depends_on_name_and_seed_and_not_on_what_was_drawn_before():
    def draw(name, seed):
        shape = torch.Size([4, 4])
        return first_adapter(f"{name}.lora_A.default.weight", shape, slice(None), rank=4, seed=seed)

    first = draw("a", 0)
    torch.rand(7)
    assert torch.equal(first, draw("a", 0))
    assert not torch.equal(first, draw("b", 0))
    assert not torch.equal(first, draw("a", 1))


def test_stock_names_are_those_of_the_files(tiny_stack):
    folder = tiny_stack / "pipeline" / "transformer"
    backbone = Backbone.from_pretrained(folder, rank=2, eight_bit=True)
    names = {
        stock_name(name)
        for name, _ in backbone.transformer.named_parameters()
        if ".lora_" not in name
    }
    assert names == TensorFolder(folder).names
