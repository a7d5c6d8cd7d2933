"""One rank of `test_ranks.py`: `python two_ranks.py FOLDER RANK WORLD_SIZE`.

A script of its own, so that a fresh interpreter runs it with nothing but the package.
"""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from pixelsmile.metrics import (
    ControlLinearityScore,
    ExpressionAccuracy,
    HarmonicEditingScore,
    IdentitySimilarity,
    MeanStructuralConfusionRate,
)


def rows(count=23):
    """Inputs of every metric, all rows."""
    generator = torch.Generator().manual_seed(15)
    predicted, requested = torch.randint(3, (2, count), generator=generator)
    unit = torch.rand(2, count, generator=generator)
    strength = torch.linspace(0, 1, 4, dtype=torch.float64).expand(count, 4)
    score = torch.rand(count, 4, generator=generator)
    score[::5] = 0.5
    faces = torch.randn(2, 3, count, 8, generator=generator)
    return {
        "mscr": (predicted, requested),
        "accuracy": (predicted, requested),
        "hes": (unit[0], unit[1]),
        "cls": (strength, score),
        "identity": (faces[0], faces[1]),
    }


def measure(part, *, skip=False):
    """Update every metric with the rows `part`, or with none at all, and return all results."""
    metrics = {
        "mscr": MeanStructuralConfusionRate(pairs=[(0, 1), (0, 2)], num_expressions=3),
        "accuracy": ExpressionAccuracy([0, 1], num_expressions=3),
        "hes": HarmonicEditingScore(),
        "cls": ControlLinearityScore(),
        "identity": IdentitySimilarity(),
    }
    results = {}
    for name, inputs in rows().items():
        metric = metrics[name]
        if not skip:
            dim = 1 if name == "identity" else 0
            metric.update(*(x.index_select(dim, torch.tensor(part)) for x in inputs))
        results[name] = [metric.compute().item(), *metric.interval(), metric.num_samples]
    results["constant"] = metrics["cls"].constant
    results["per_recogniser"] = metrics["identity"].per_recogniser().tolist()
    return results


def main(folder, rank, world_size):
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world_size
    )
    bounds = [0, 11, 23] if world_size == 2 else [0, 1, 17, 23]
    results = {
        "uneven": measure(range(bounds[rank], bounds[rank + 1])),
        # the last rank has nothing, the others share all rows
        "empty": measure(range(rank, 23, world_size - 1), skip=rank == world_size - 1),
    }
    (folder / f"{rank}.json").write_text(json.dumps(results))
    dist.barrier()
    sys.stdout.flush()
    os._exit(0)  # gloo sometimes aborts at a normal exit, after the work is done


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
