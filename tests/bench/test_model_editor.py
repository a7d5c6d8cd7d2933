"""The model as editor: what it draws is what the report measures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from pixelsmile.bench.editors import ModelEditor
from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.evaluate import evaluate
from pixelsmile.expressions import EXPRESSIONS, index
from tests.bench import tables
from tests.tiny_random import SETTINGS


@pytest.fixture(scope="module")
def config(tmp_path_factory, tiny_stack):
    root = tmp_path_factory.mktemp("model")
    tables.write_tasks(root / "in", ["fear", "happy"], size=96)
    words = [
        *SETTINGS,
        "editor=base",
        "editor.resize=crop",
        "tasks=ffe_bench",
        f"tasks.file={root / 'in' / 'tasks.jsonl'}",
        "protocol.num_strengths=2",
        f"model.weights={tiny_stack}",
        f"judge.folder={tiny_stack / 'judge'}",
        f"paths.runs={root / 'runs'}",
    ]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return compose("evaluate", words)


def test_edits_are_those_of_the_editor_and_landmarks_follow_the_crop(config):
    numbers = evaluate(config)
    folder = Path(config.paths.runs) / "evaluate" / "human-base"
    assert numbers["editor"]["kind"] == "base"
    assert numbers["coverage"]["judge"]["ok"] == 4
    editor = ModelEditor(config, label="base", resize="crop").editor
    row = json.loads((folder / "tasks.jsonl").read_text().splitlines()[0])
    with Image.open(folder / row["image"]) as source:
        assert source.size == (64, 64)
        weights = torch.zeros(2, len(EXPRESSIONS))
        weights[1, index("fear")] = 1.0
        images = editor.render(editor.encode(source), weights)
    expected = ((images.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(1, -1).numpy()
    for place, strength in enumerate(("0.0", "1.0")):
        with Image.open(folder / "edits" / f"p0_fear_{strength}.png") as edit:
            assert np.abs(np.asarray(edit).astype(int) - expected[place]).max() <= 1
    # 96 pixels became 64: the points did too
    assert row["landmarks"][0] == pytest.approx([0.3 * 64, 0.4 * 64])
    assert row["box"] == pytest.approx([2 * 64 / 96, 2 * 64 / 96, 94 * 64 / 96, 94 * 64 / 96])
    assert row["origin_sha256"] in json.dumps(json.loads((folder / "run.json").read_text()))
