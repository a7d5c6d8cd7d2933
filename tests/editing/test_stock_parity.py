"""With the shipped weights, pictures are those of the stock pipeline, with a LoRA and without."""

import importlib.util
from pathlib import Path

import pytest
import torch
from PIL import Image

from pixelsmile.editing import ExpressionEditor
from pixelsmile.editing.rows import weights_of
from pixelsmile.faces.human import HumanFaces
from pixelsmile.models.backbone import Backbone

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "pixelsmile/faces/tiny/weights/pipeline"
CASES = [("happy", 1.0), ("fear", 0.35), ("angry", -1.0), ("sad", 2.0), ("shy", 0.0)]


@pytest.fixture(scope="module")
def benchmark():
    """`benchmarks/sweep.py`, which has the stock way."""
    spec = importlib.util.spec_from_file_location("sweep", ROOT / "benchmarks" / "sweep.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def face():
    return Image.fromarray(HumanFaces().render(9000, {}).image)


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = Backbone.from_pretrained(WEIGHTS / "transformer", rank=4, alpha=8)
        for name, parameter in backbone.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
    return str(backbone.save_adapter(tmp_path_factory.mktemp("lora")).parent)


@pytest.mark.slow
def test_pictures_equal_those_of_the_stock_pipeline(benchmark, face, lora, monkeypatch):
    monkeypatch.setattr(benchmark.stock, "VAE_IMAGE_SIZE", 0)  # the benchmark sets both
    monkeypatch.setattr(benchmark.stock, "CONDITION_IMAGE_SIZE", 0)
    rows = torch.stack([strength * weights_of({word: 1.0}) for word, strength in CASES])
    found = []
    for file in (None, lora):
        editor = ExpressionEditor.from_pretrained("tiny", lora=file)
        plain = benchmark.PerPicture(editor, WEIGHTS, file)
        ours = editor.render(editor.encode(face), rows)
        stock = torch.stack([plain(face, word, strength) for word, strength in CASES])
        assert (ours - stock).abs().max() <= 1e-4
        assert (stock[0] - stock[4]).abs().max() > 0.1
        found.append(ours)
    assert (found[0] - found[1]).abs().max() > 0.05


def test_the_formula_of_the_benchmark_holds_for_the_shipped_transformer(benchmark):
    benchmark.check_formula(ExpressionEditor.from_pretrained("tiny"))
