"""Rebuild the tiny stack from nothing: `python -m pixelsmile.faces.tiny`."""

import torch
from omegaconf import DictConfig

from pixelsmile.command import command
from pixelsmile.faces.tiny.rebuild import Rebuild


@command("tiny")
def main(config: DictConfig) -> None:
    """Rebuild all tiny weights."""
    torch.set_num_threads(config.threads)
    Rebuild(config).run()


if __name__ == "__main__":
    main()
