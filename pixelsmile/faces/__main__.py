"""Write a set of synthetic faces: `python -m pixelsmile.faces domain=anime identities=200`."""

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from pixelsmile.command import command
from pixelsmile.errors import UserError
from pixelsmile.faces.dataset import SHEET, write_dataset
from pixelsmile.faces.seeds import seed_range


@command("faces/faces", next_step="Run the same command again to continue where it stopped.")
def main(config: DictConfig) -> None:
    """Write the set that the config describes and say where it is."""
    _check_types(config)
    seeds = seed_range(config.first_seed, config.identities)
    annotations = write_dataset(
        instantiate(config.generator),
        seeds,
        config.out,
        strengths=config.strengths,
        size=config.size,
        workers=None if config.workers == "auto" else config.workers,
        split=config.split,
        reserved=config.reserved,
        sheet=config.sheet,
        overwrite=config.overwrite,
    )
    console = Console(soft_wrap=True)
    console.print(f"{config.identities} identities in {annotations}", highlight=False)
    if config.sheet:
        console.print(f"To look at: {annotations.parent / SHEET}", highlight=False)


def _check_types(config: DictConfig) -> None:
    """Refuse values of a type that no check further down would understand.

    Raises:
        UserError: Naming the key, the value and an example.
    """
    for key, example in (("identities", 200), ("first_seed", 0), ("size", 128)):
        if type(config[key]) is not int:
            raise UserError(f"{key}={config[key]} is no whole number: say {key}={example}.")
    for key in ("reserved", "sheet", "overwrite"):
        if type(config[key]) is not bool:
            raise UserError(f"{key}={config[key]}: say {key}=true or {key}=false.")
    try:
        [float(strength) for strength in config.strengths]
    except (TypeError, ValueError):
        raise UserError(
            f"strengths={config.strengths} is no list of numbers: say 'strengths=[0.35,0.7,1.0]'."
        ) from None
    if not config.out:
        raise UserError("out= names no folder: say out=data/faces.")


if __name__ == "__main__":
    main()
