"""The settings of `pixelsmile.edit`, checked, and what identifies the model behind a picture."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pixelsmile.data.memory import file_digest
from pixelsmile.editing.framing import STEP, Box, Framing
from pixelsmile.editing.requests import read_box
from pixelsmile.errors import UserError
from pixelsmile.lora.files import find_file, scan

KEEP = ("nothing", "background")
FPS = (1.0, 50.0)
MOST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Settings:
    """How pictures are edited and written.

    Attributes:
        seed: Of the noise.
        speed: Name of a file in `configs/editing/speed`.
        framing: What of a picture is edited.
        box: Of the face, in pixels of the upright picture; None looks for it.
        keep: `nothing` takes all that the model made, `background` only the face.
        size: (height, width) of the edit, the edge of a square of the same area, or None: the
            model's.
        skip_existing: Leave finished pictures as they are, else make them anew.
        grid: Write one labelled picture of all results of an image.
        gif: Write a moving sweep as GIF.
        mp4: The same as MP4.
        fps: Frames a second of sweeps.
        edge: Longest side of sweeps in pixels.
    """

    seed: int = 0
    speed: str = "exact"
    framing: Framing = field(default_factory=Framing)
    box: Box | None = None
    keep: str = "nothing"
    size: tuple[int, int] | int | None = None
    skip_existing: bool = True
    grid: bool = True
    gif: bool = False
    mp4: bool = False
    fps: float = 12.0
    edge: int = 512

    @classmethod
    def read(cls, config: DictConfig) -> "Settings":
        """Return the settings of a composed `configs/edit.yaml`.

        Raises:
            UserError: If a value makes no sense.
        """
        if config.keep not in KEEP:
            raise UserError(f"keep={config.keep}: choose one of {', '.join(KEEP)}.")
        flags = ("skip_existing", "grid", "gif", "mp4")
        for key in flags:
            if type(config[key]) is not bool:
                raise UserError(f"{key}={config[key]}: say {key}=true or {key}=false.")
        _whole(config.seed, "seed", 0, MOST_SEED)
        _whole(config.sweep.edge, "sweep.edge", 32, 4096)
        fps = config.sweep.fps
        if type(fps) not in (int, float) or not FPS[0] <= fps <= FPS[1]:
            raise UserError(f"sweep.fps={fps}: give a number from {FPS[0]:g} to {FPS[1]:g}.")
        return cls(
            seed=config.seed,
            speed=str(config.speed),
            framing=Framing(**plain(config.framing)),
            box=read_box(plain(config.box)),
            keep=config.keep,
            size=_read_size(plain(config.size)),
            fps=float(fps),
            edge=config.sweep.edge,
            **{key: config[key] for key in flags},
        )

    @property
    def needs_face(self) -> bool:
        """Whether the place of the face makes a difference."""
        return self.framing.mode != "whole" or self.keep != "nothing"

    def facts(self) -> dict[str, Any]:
        """Return what decides about the pixels, for JSON."""
        return {
            "seed": self.seed,
            "speed": self.speed,
            "framing": asdict(self.framing),
            "box": None if self.box is None else list(self.box),
            "keep": self.keep,
            "edit_size": list(self.size) if isinstance(self.size, tuple) else self.size,
        }


def model_facts(config: DictConfig, weights: str) -> dict[str, Any]:
    """Return what identifies the model, for JSON.

    Args:
        config: With `model`, `domain` and `lora`.
        weights: Hash of base and LoRA, `ExpressionEditor.identity`.

    Raises:
        UserError: If there is no LoRA where one is named.
    """
    lora = None if config.lora is None else find_file(config.lora)
    return {
        "model": config.model.base,
        "model_hash": weights,
        "lora_sha256": None if lora is None else file_digest(lora),
        "domain": config.domain.name,
        "dtype": str(config.dtype or config.model.backbone.dtype),
        "num_steps": config.model.num_steps,
        "image_size": config.model.sizes.image,
        "text_size": config.model.sizes.text,
    }


def editor_options(config: DictConfig) -> dict[str, Any]:
    """Return where and how an editor runs, as `ExpressionEditor.from_config` takes it."""
    return {key: config[key] for key in ("device", "dtype", "batch_size", "offload", "compile")}


def lora_note(lora: str | Path | None, domain: str) -> str | None:
    """Return a sentence where a LoRA was trained for the other domain, or there is none."""
    if lora is None:
        return "No lora=: this is the zero-shot base, without training."
    trained = scan(lora).facts.get("pixelsmile.domain")
    if trained in (None, domain):
        return None
    return f"{lora} was trained for domain={trained}, and this is domain={domain}."


def _read_size(value: Any) -> tuple[int, int] | int | None:
    """Check `size=`: null, an edge, or [height, width]."""
    if value is None:
        return None
    edges: list[Any] = (
        list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    )
    fine = len(edges) in (1, 2) and all(type(edge) is int for edge in edges)
    if not fine or any(edge < 2 * STEP or edge % STEP or edge > 4096 for edge in edges):
        raise UserError(
            f"size={value}: give an edge, or [height,width], in multiples of {STEP} from "
            f"{2 * STEP} to 4096."
        )
    return edges[0] if len(edges) == 1 else (edges[0], edges[1])


def _whole(value: Any, key: str, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise UserError(f"{key}={value}: give a whole number from {low} to {high}.")


def plain(node: Any) -> Any:
    """Return a config node as plain Python, anything else as it is."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
