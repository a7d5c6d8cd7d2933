"""Random tables of edits, and folders of runs without any model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pixelsmile.bench.editors import FolderEditor
from pixelsmile.bench.folder import BenchFolder
from pixelsmile.bench.stages import edit_tasks, place_tasks
from pixelsmile.bench.table import Edit
from pixelsmile.bench.tasks import Task, read_tasks
from pixelsmile.expressions import EXPRESSIONS

PROTOCOL = {"strength": 1.0, "linear": [0.0, 0.5, 1.0], "seed": 0}


class Colours(torch.nn.Module):
    """A recogniser that costs nothing: it looks at the colours around the five points."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, images, landmarks):
        x, y = landmarks[0].long().clamp(0, images.shape[-1] - 1).T
        return images[:, :, y, x].flatten(1)


CHEAP = "[{_target_: tests.bench.tables.Colours, name: red}]"
"""An override of `model.scorer.recognisers`."""

RECOGNISERS = ("one", "two", "three")


def random_table(seed=0, tasks=60, *, faces=None, gaps=0.0, dark=0.0):
    """Return edits with random scores and cosines.

    A share `gaps` lacks one or the other; in a share `dark` of strength 1 every score is 0.
    """
    generator = np.random.default_rng(seed)
    table = []
    for place in range(tasks):
        face = place % (faces or tasks)
        name = EXPRESSIONS[place % 12]
        task = Task(f"f{place}", Path("x.png"), name, "human", "", digest=f"face{face}")
        for strength in PROTOCOL["linear"]:
            scores = generator.random(12)
            scores[place % 12] = min(1.0, scores[place % 12] + 0.5 * strength)
            if dark and strength == 1.0 and generator.random() < dark:
                scores = np.zeros(12)
            edit = Edit(
                task=task,
                strength=strength,
                path=Path(f"{task.name}_{strength}.png"),
                judged="ok",
                scores=tuple(scores.tolist()),
                repeats=(tuple(scores.tolist()),),
                answers=("ok",),
                cosines=dict(zip(RECOGNISERS, generator.uniform(-0.2, 1, 3).tolist(), strict=True)),
                identity="ok",
            )
            if generator.random() < gaps:
                edit = replace(edit, judged="refused", scores=None, repeats=())
                edit = replace(edit, answers=("refused",))
            if generator.random() < gaps:
                edit = replace(edit, identity="no_face", cosines=dict.fromkeys(RECOGNISERS))
            table.append(edit)
    return table


JUDGE = {"id": "someone", "settings": {"temperature": 0}, "prompt_hash": "p"}


def edited_folder(root: Path, **record):
    """Return a function that edits two tasks from a folder `out` and returns the run's folder.

    Called again it goes on, as a second start does. Nobody judges or compares anything.
    """
    tasks = read_tasks(write_tasks(root / "in", ["happy", "fear"]), domain="human")
    if not (root / "out").exists():
        write_edits(root / "out", tasks)
    settings = {
        "label": "tool",
        "domain": "human",
        "protocol": PROTOCOL,
        "editor": {"kind": "folder"},
        "judge": JUDGE,
        "repeats": 1,
        "recognisers": {},
        "landmarks": {"kind": "given"},
        **record,
    }

    def work():
        editor = FolderEditor(
            None, folder=root / "out", pattern="{id}_{expression}_{strength}.png", label="tool"
        )
        folder = place_tasks(BenchFolder(root / "run", settings), tasks, editor)
        edit_tasks(folder, tasks, editor, seed=0)
        return folder

    return work


def write_tasks(folder: Path, expressions, *, domain="human", size=32, landmarks=True) -> Path:
    """Write coloured squares as faces, one a task, in the layout of FFE-Bench."""
    generator = np.random.default_rng(3)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for place, expression in enumerate(expressions):
        pixels = generator.integers(0, 255, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"p{place}.png")
        row = {
            "image": f"p{place}.png",
            "box": [2, 2, size - 2, size - 2],
            "category": expression,
            "prompt": f"make it {expression}",
            "domain": domain,
        }
        if landmarks:
            points = [[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.75], [0.65, 0.75]]
            row["landmarks"] = [[x * size, y * size] for x, y in points]
        rows.append(row)
    file = folder / "tasks.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def write_edits(folder: Path, tasks, strengths=(0.0, 0.5, 1.0), *, size=32, seed=5) -> None:
    """Write random images as another tool's edits of the tasks."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        for strength in strengths:
            pixels = generator.integers(0, 255, (size, size, 3), dtype=np.uint8)
            name = f"{task.id}_{task.expression}_{strength:.2f}.png"
            Image.fromarray(pixels).save(folder / name)
