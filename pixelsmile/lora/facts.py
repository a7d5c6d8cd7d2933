"""What a LoRA file says about its own training."""

import subprocess
from pathlib import Path

from omegaconf import DictConfig

import pixelsmile


def training_facts(config: DictConfig, steps: int) -> dict[str, str]:
    """Return base, domain, sizes, steps and code of a training, for the file's metadata.

    Args:
        config: Of the run.
        steps: Optimiser steps behind the weights.
    """
    sizes = config.model.sizes
    facts = {
        "base": config.model.base,
        "domain": config.domain.name,
        "image_size": sizes.image,
        "condition_size": sizes.condition,
        "text_size": sizes.text,
        "steps": steps,
        "seed": config.seed,
        "version": pixelsmile.__version__,
        "commit": code_commit() or "unknown",
    }
    return {f"pixelsmile.{name}": str(value) for name, value in facts.items()}


def code_commit() -> str | None:
    """Return the git commit of this checkout, with `-dirty` for local changes; None elsewhere."""
    root = Path(pixelsmile.__file__).resolve().parent.parent
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root:  # an installed copy inside somebody's repository
        return None
    return _git(root, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
