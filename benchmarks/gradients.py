"""Do contrast and identity loss pull where the flow loss pulls? By noise level.

    python benchmarks/gradients.py --lora runs/latest/lora --domain human

For an adapter as it is (the untrained one without `--lora`), the gradient of each loss on the
adapter is averaged over the same batches at one noise level. Shown are the norm of the weighted
gradient of each triplet term and of the identity loss beside that of the flow loss, and the cosine
between the two: near 0 it asks for something that the flow loss does not care about, below 0 for
its opposite. The identity loss is gated by noise level and 0 above.
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
TERMS = {"InfoNCE": info_nce, "hinge": hinge, "log-ratio": log_ratio, "identity": None}
"""The triplet term of a column; none in that of the identity loss."""


def parts(domain: str, people: int, batches: int) -> tuple[PixelSmile, list[TripletBatch]]:
    """Return a module of the tiny stack and some batches of its training set."""
    with tempfile.TemporaryDirectory() as folder:
        places = [f"paths.{name}={Path(folder) / name}" for name in ("runs", "data", "cache")]
        few = [f"data.files.train_identities={people}", "data.files.val_identities=1"]
        with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
            config = compose("train", ["name=gradients", f"domain={domain}", *places, *few])
        faces = read_data(config)
        data = build_datamodule(config, faces, prepare(config, *faces.needed))
        module = build_module(config).train()
        return module, list(islice(data.train_dataloader(), batches))


def gradient(module: PixelSmile, value: Tensor) -> Tensor:
    """Return a loss's gradient on the adapter, one vector; 0 for a loss that did not count."""
    parameters = module.backbone.adapter_parameters()
    if not value.requires_grad:  # the identity loss above its gate
        return torch.zeros(sum(p.numel() for p in parameters))
    found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(p) if g is None else g).flatten()
            for p, g in zip(parameters, found, strict=True)
        ]
    )


def compare(module: PixelSmile, batches: list[TripletBatch], level: float) -> str:
    """Return the norm of the other losses' weighted gradient over the flow's, and their cosine."""
    flow = other = torch.zeros(())
    for batch in batches:
        terms, _ = module.terms(batch._replace(uniform=torch.full_like(batch.uniform, level)))
        flow = flow + gradient(module, terms.flow)
        weighted = module.triplet_weight * terms.triplet + module.identity_weight * terms.identity
        other = other + gradient(module, weighted)
    if not other.any():
        return "0"
    share = float(other.norm() / flow.norm())
    return f"{share:.2f} ({float(torch.cosine_similarity(flow, other, dim=0)):+.2f})"


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
    triplet_weight, identity_weight = module.triplet_weight, module.identity_weight
    table = Table(title=f"{arguments.domain}: gradient norm over the flow's (cosine with it)")
    for name in ("noise level", *TERMS):
        table.add_column(name, justify="right")
    with progress("Comparing gradients", len(LEVELS) * len(TERMS)) as advance:
        for level in LEVELS:
            cells = []
            for term in TERMS.values():
                if term is not None:
                    module.triplet = SymmetricTripletLoss(term)
                module.triplet_weight = 0.0 if term is None else triplet_weight
                module.identity_weight = identity_weight if term is None else 0.0
                cells.append(compare(module, batches, level))
                advance(1)
            table.add_row(f"{level}", *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
