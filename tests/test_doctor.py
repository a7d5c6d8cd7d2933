"""The doctor reports on any machine and never fails."""

import sys

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from safetensors.torch import save_file

import pixelsmile.doctor as doctor
from pixelsmile.weights import WEIGHTS


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["doctor", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "200")
        GlobalHydra.instance().clear()
        doctor.main()
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return call


def row(text, name):
    (line,) = [line for line in text.splitlines() if line.startswith(f"│ {name}")]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_report_names_versions_devices_memory_and_disk(run):
    text = run()
    assert row(text, "torch ")[1] == torch.__version__.split("+")[0]
    assert "GB free of" in row(text, "memory")[1]
    assert row(text, "GPU")[1]
    assert row(text, "paths.weights")[1] == "not set: paths.weights=<folder>"
    assert "GB of" in row(text, "paths.runs")[2]
    assert row(text, "tiny stack")[2:4] == ["there", "folder"]
    for weight in WEIGHTS:
        assert weight.command("weights") in text


def test_report_tells_what_is_there_damaged_and_missing(run, tiny_stack, tmp_path):
    root = tmp_path / "my weights"
    root.mkdir()
    (root / "Qwen-Image-Edit-2511").symlink_to(tiny_stack / "pipeline")
    clip = root / "clip-vit-l-14" / "open_clip_model.safetensors"
    clip.parent.mkdir()
    save_file({"w": torch.ones(1500)}, clip)
    glint = root / "antelopev2" / "glintr100.onnx"
    glint.parent.mkdir()
    glint.write_bytes(b"<html>")
    (root / "DanbooruCLIP").symlink_to(root / "DanbooruCLIP")
    text = run(f"paths.weights='{root}'")
    state, kind, values, _ = row(text, "Qwen-Image-Edit-2511")[2:]
    assert (state, kind) == ("there", "diffusers QwenImageEditPlusPipeline")
    assert "F16" in values
    assert row(text, "CLIP ViT-L/14")[2:5] == ["there", "safetensors", "1.50 k F32"]
    assert row(text, "ArcFace")[2].startswith("damaged: no ONNX graph")
    assert row(text, "AdaFace")[2] == "missing"
    by_name = {weight.name: weight.command(root) in text for weight in WEIGHTS}
    wanted = {name: not name.startswith(("Qwen", "CLIP")) for name in by_name}
    assert by_name == wanted


def test_broken_parts_of_a_machine_are_lines_of_the_report(run, monkeypatch):
    def fail():
        raise RuntimeError("driver [too old]")

    monkeypatch.setattr(torch.cuda, "is_available", fail)
    monkeypatch.setattr(doctor, "_memory", fail)
    monkeypatch.setattr(doctor, "describe", lambda path: fail())
    text = run()
    assert row(text, "GPU")[1] == "unknown (RuntimeError: driver [too old])"
    assert row(text, "memory")[1].startswith("unknown")
    assert row(text, "tiny stack")[2].startswith("unreadable: RuntimeError")
