"""The 15 blends of the paper's Fig. 12: does a judge see the two expressions that were asked for.

    python benchmarks/blends.py --domain human --lora runs/latest/lora --identities 16

Every pair of the six basic expressions is blended in equal parts, half of each direction, on people
of seeds 9000 up, which nothing was trained on. A blend succeeds for a person when the judge's two
strongest expressions of twelve are the two of the pair, and for the project when it succeeds for
more than half of the people. The paper counts 9 of 15 plausible blends, by eye; with another judge
the numbers are not the same quantity.

The last columns are the ceiling: the same question about true renders of the same mix, where
nothing was edited. A blend that the judge cannot see there says nothing about the editor.
"""

import argparse
from dataclasses import dataclass

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pixelsmile import ExpressionEditor
from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.editing.source import to_pixels
from pixelsmile.errors import friendly
from pixelsmile.expressions import BASIC_PAIRS, EXPRESSIONS, index, pair_indices
from pixelsmile.faces.base import RESERVED_SEED, FaceGenerator
from pixelsmile.faces.seeds import seed_range
from pixelsmile.judges import LocalJudge
from pixelsmile.metrics.functional import both_strongest
from pixelsmile.metrics.intervals import wilson_interval
from pixelsmile.progress import track

GOAL = 9
"""Of 15, the paper's own count (Sec. 5.6)."""


@dataclass(frozen=True)
class Seen:
    """What the judge saw, (N, 15, 12), of N people: in edits, and in true renders."""

    edits: Tensor
    renders: Tensor


def blend_weights(part: float) -> Tensor:
    """Return one row a pair for `ExpressionEditor.render`, (15, 12): so much of either."""
    rows = torch.zeros(len(BASIC_PAIRS), len(EXPRESSIONS))
    return rows.scatter(1, torch.tensor(pair_indices(BASIC_PAIRS)), part)


def look(
    editor: ExpressionEditor,
    faces: FaceGenerator,
    judge: LocalJudge,
    *,
    part: float,
    identities: int,
    size: int,
) -> Seen:
    """Blend, render and judge."""
    weights, edits, renders = blend_weights(part), [], []
    mixes = [dict.fromkeys(pair, part) for pair in BASIC_PAIRS]
    for seed in track(seed_range(RESERVED_SEED, identities), "Blending"):
        neutral, *true = (
            Image.fromarray(faces.render(seed, mix, size=size).image) for mix in [{}, *mixes]
        )
        edits.append(judge.score(editor.render(editor.encode(neutral), weights)))
        renders.append(judge.score(torch.stack([to_pixels(face, size, size) for face in true])))
    return Seen(torch.stack(edits), torch.stack(renders))


def successes(scores: Tensor) -> Tensor:
    """Return for whom each blend succeeds, (N, 15) bool, of scores (N, 15, 12)."""
    requested = torch.tensor(pair_indices(BASIC_PAIRS)).repeat(len(scores), 1)
    return both_strongest(scores.flatten(0, 1), requested).view(scores.shape[:2])


def majority(succeeded: Tensor) -> Tensor:
    """Return which blends succeed for more than half of the people, (15,) bool."""
    return succeeded.sum(0) * 2 > len(succeeded)


def pairs_table(seen: Seen, title: str) -> Table:
    """List the pairs one by one."""
    table = Table(title=title)
    table.add_column("blend")
    for name in ("edits", "verdict", "scores of the two", "strongest other", "true", "verdict"):
        table.add_column(name, justify="right")
    edits, renders = successes(seen.edits), successes(seen.renders)
    means = seen.edits.mean(0)
    for row, pair in enumerate(BASIC_PAIRS):
        own = [means[row, index(name)].item() for name in pair]
        others = {
            score: name
            for name, score in zip(EXPRESSIONS, means[row].tolist(), strict=True)
            if name not in pair
        }
        table.add_row(
            " + ".join(pair),
            f"{int(edits[:, row].sum())} of {len(edits)}",
            "yes" if majority(edits)[row] else "no",
            f"{own[0]:.2f}, {own[1]:.2f}",
            f"{others[max(others)]} {max(others):.2f}",
            f"{int(renders[:, row].sum())} of {len(renders)}",
            "yes" if majority(renders)[row] else "no",
        )
    return table


def summary(name: str, succeeded: Tensor) -> str:
    """Return count of pairs, and the share over pairs and people with its 95 % interval."""
    low, high = wilson_interval(int(succeeded.sum()), succeeded.numel())
    share = succeeded.float().mean().item()
    count = int(majority(succeeded).sum())
    return (
        f"{name} {count:2d} of {len(BASIC_PAIRS)} blends; "
        f"{share:.3f} [{low:.3f}, {high:.3f}] of {succeeded.numel()} pictures"
    )


@friendly()
def main() -> None:
    """Print the table and both counts."""
    parser = argparse.ArgumentParser(description="The 15 blends of Fig. 12.")
    parser.add_argument("--model", default="tiny", help="a config in configs/model")
    parser.add_argument("--lora", help="folder or file; without one the base blends")
    parser.add_argument("--domain", choices=("human", "anime"), default="human")
    parser.add_argument("--identities", type=int, default=4)
    parser.add_argument("--part", type=float, default=0.5, help="weight of either expression")
    options = parser.parse_args()
    editor = ExpressionEditor.from_pretrained(
        options.model, lora=options.lora, domain=options.domain
    )
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        choice = [f"model={options.model}", f"domain={options.domain}", "name=blends"]
        config = compose("train", choice)
    seen = look(
        editor,
        instantiate(config.domain.faces),
        instantiate(config.model.scorer.judge),
        part=options.part,
        identities=options.identities,
        size=editor.image_size,
    )
    who = f"{options.domain}, {options.lora or 'base without adapter'}"
    console = Console()
    console.print(pairs_table(seen, f"{who}, {options.part:g} of either expression"))
    console.print(summary("edits       ", successes(seen.edits)), highlight=False)
    console.print(summary("true renders", successes(seen.renders)), highlight=False)
    console.print(f"goal         {GOAL:2d} of {len(BASIC_PAIRS)}", highlight=False)


if __name__ == "__main__":
    main()
