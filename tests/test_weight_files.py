"""Formats, counts and damage are told from headers alone."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from pixelsmile.weight_files import BrokenWeightsError, describe


@pytest.fixture
def tensors():
    return {"a": torch.ones(3, 4), "b": torch.ones(5, dtype=torch.bfloat16)}


def test_safetensors_are_counted_by_dtype(tensors, tmp_path):
    save_file(tensors, tmp_path / "x.safetensors", {"format": "pt"})
    found = describe(tmp_path / "x.safetensors")
    assert (found.format, found.tensors) == ("safetensors", 2)
    assert found.parameters == {"F32": 12, "BF16": 5}
    assert found.size == (tmp_path / "x.safetensors").stat().st_size


def test_only_the_header_of_a_huge_file_is_read(tmp_path):
    """40 GB that are a hole in the file system."""
    file = tmp_path / "huge.safetensors"
    values = 20 * 10**9
    entry = {"dtype": "BF16", "shape": [values], "data_offsets": [0, 2 * values]}
    header = json.dumps({"w": entry}).encode()
    with file.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.truncate(8 + len(header) + 2 * values)
    assert describe(file).parameters == {"BF16": values}


def test_torch_files_are_counted_without_unpickling(tensors, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.abort, ()

    torch.save({"state_dict": {"a": tensors["a"]}, "bomb": Bomb()}, tmp_path / "x.ckpt")
    found = describe(tmp_path / "x.ckpt")
    assert (found.format, found.tensors) == ("PyTorch", 1)
    assert found.parameters == {"F32": 12}


def test_onnx_is_counted(tiny_stack):
    found = describe(tiny_stack / "recognisers" / "arcface.onnx")
    assert found.format == "ONNX"
    assert found.total > 1000


def test_folders_name_their_library_and_add_up(tiny_stack):
    pipeline = describe(tiny_stack / "pipeline")
    assert pipeline.format == "diffusers QwenImageEditPlusPipeline"
    parts = [describe(tiny_stack / "pipeline" / part) for part in ("transformer", "vae")]
    text = describe(tiny_stack / "pipeline" / "text_encoder")
    assert text.format == "transformers qwen2_5_vl"
    assert pipeline.total == sum(part.total for part in (*parts, text))
    assert set(parts[0].parameters) == {"F16"}
    assert describe(tiny_stack / "clip").format == "open_clip folder"


def test_notes_of_a_download_do_not_count_and_a_cache_may_hold_the_folder(tensors, tmp_path):
    folder = tmp_path / ".cache" / "weights"
    (folder / ".cache").mkdir(parents=True)
    save_file(tensors, folder / "x.safetensors")
    save_file(tensors, folder / ".cache" / "y.safetensors")
    assert describe(folder).tensors == 2


def test_missing_part_of_a_sharded_model_is_found(tensors, tmp_path):
    save_file(tensors, tmp_path / "m-00001-of-00002.safetensors")
    index = {"weight_map": {f"{i}": f"m-0000{i}-of-00002.safetensors" for i in (1, 2)}}
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BrokenWeightsError, match=r"1 of 2 parts missing, e\.g\. m-00002-of"):
        describe(tmp_path)
    (tmp_path / "m.safetensors.index.json").write_text("[]")
    with pytest.raises(BrokenWeightsError, match="is no index of weights"):
        describe(tmp_path)


def test_damage_is_told(tensors, tmp_path):
    save_file(tensors, tmp_path / "good.safetensors")
    good = (tmp_path / "good.safetensors").read_bytes()
    torch.save(tensors, tmp_path / "good.pt")
    packed = (tmp_path / "good.pt").read_bytes()
    for name, content, message in (
        ("a.safetensors", b"", "empty file"),
        ("a.safetensors", good[:-1], "truncated"),
        ("a.safetensors", good + b"x", "truncated: .* bytes of"),
        ("a.safetensors", good[:20], "no safetensors header"),
        ("a.safetensors", b"<html>404 not found</html>", "no safetensors header"),
        ("a.safetensors", (4).to_bytes(8, "little") + b"[12]", "header is damaged"),
        ("a.safetensors", (2).to_bytes(8, "little") + b"{", "no safetensors header"),
        ("a.pt", packed[:-30], "zip directory is damaged"),
        ("a.pt", packed[: len(packed) // 2], "zip directory is damaged"),
        ("a.pt", b"<html>", "no known format"),
        ("a.onnx", b"<html>404</html>", "no ONNX graph"),
        ("a.onnx", b"\x08\x07", "no ONNX graph"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BrokenWeightsError, match=message):
            describe(tmp_path / name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BrokenWeightsError, match="no weights in this folder"):
        describe(tmp_path / "empty")
