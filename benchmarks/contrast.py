"""Does the contrast pull where the flow loss pulls? By noise level, for the three triplet terms.

    python benchmarks/contrast.py --lora runs/latest/lora --domain human

For an adapter as it is (the untrained one without `--lora`), the gradient of each loss on the
adapter is averaged over the same batches at one noise level. Shown are the norm of the weighted
contrast's gradient beside that of the flow loss, and the cosine between the two: near 0 the
contrast asks for something that the flow loss does not care about, below 0 for its opposite.
"""

import argparse
import tempfile
from itertools import islice
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.data.datamodule import TripletBatch
from pixelsmile.data.reading import read_data
from pixelsmile.losses import SymmetricTripletLoss, hinge, info_nce, log_ratio
from pixelsmile.module import PixelSmile
from pixelsmile.prepare import prepare
from pixelsmile.progress import progress
from pixelsmile.stack import build_datamodule, build_module, quiet

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
TERMS = {"InfoNCE": info_nce, "hinge": hinge, "log-ratio": log_ratio}


def parts(domain: str, people: int, batches: int) -> tuple[PixelSmile, list[TripletBatch]]:
    """Return a module of the tiny stack and some batches of its training set."""
    with tempfile.TemporaryDirectory() as folder:
        places = [f"paths.{name}={Path(folder) / name}" for name in ("runs", "data", "cache")]
        few = [f"data.files.train_identities={people}", "data.files.val_identities=1"]
        with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
            config = compose("train", ["name=contrast", f"domain={domain}", *places, *few])
        faces = read_data(config)
        data = build_datamodule(config, faces, prepare(config, *faces.needed))
        module = build_module(config).train()
        module.identity_weight = 0.0
        return module, list(islice(data.train_dataloader(), batches))


def gradient(module: PixelSmile, value: Tensor) -> Tensor:
    """Return a loss's gradient on the adapter, one vector."""
    parameters = module.backbone.adapter_parameters()
    found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(p) if g is None else g).flatten()
            for p, g in zip(parameters, found, strict=True)
        ]
    )


def compare(module: PixelSmile, batches: list[TripletBatch], level: float) -> tuple[float, float]:
    """Return the norm of the weighted contrast's gradient over the flow's, and their cosine."""
    flow = contrast = torch.zeros(())
    for batch in batches:
        terms, _ = module.terms(batch._replace(uniform=torch.full_like(batch.uniform, level)))
        flow = flow + gradient(module, terms.flow)
        contrast = contrast + module.triplet_weight * gradient(module, terms.triplet)
    share = float(contrast.norm() / flow.norm())
    return share, float(torch.cosine_similarity(flow, contrast, dim=0))


def main() -> None:
    """Compare and print the table."""
    parser = argparse.ArgumentParser(description="Compare gradients of contrast and flow loss.")
    parser.add_argument("--lora", type=Path)
    parser.add_argument("--domain", choices=("human", "anime"), default="human")
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--batches", type=int, default=8)
    arguments = parser.parse_args()
    quiet()
    module, batches = parts(arguments.domain, arguments.people, arguments.batches)
    if arguments.lora is not None:
        module.backbone.load_adapter(arguments.lora)
    table = Table(title=f"{arguments.domain}: gradient norm over the flow's (cosine with it)")
    for name in ("noise level", *TERMS):
        table.add_column(name, justify="right")
    with progress("Comparing gradients", len(LEVELS) * len(TERMS)) as advance:
        for level in LEVELS:
            cells = []
            for term in TERMS.values():
                module.triplet = SymmetricTripletLoss(term)
                share, cosine = compare(module, batches, level)
                cells.append(f"{share:.2f} ({cosine:+.2f})")
                advance(1)
            table.add_row(f"{level}", *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
