"""The Python API: one object that edits images.

Shapes: N pictures, K expressions, S strengths, H W image.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor

from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.data.cache import content_key, folder_fingerprint
from pixelsmile.editing.source import Source, check_size, open_source, to_pixels
from pixelsmile.editing.sweep import Sweep
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, NEUTRAL, canonical, index, prompt
from pixelsmile.lora import read_adapter
from pixelsmile.lora.files import find_file
from pixelsmile.models.autoencoder import Autoencoder
from pixelsmile.models.denoiser import Denoiser
from pixelsmile.models.renderer import draw_noise, render
from pixelsmile.models.sampler import Conditions, sigma_schedule
from pixelsmile.models.speed import Speed
from pixelsmile.models.text import PromptEncoder
from pixelsmile.pictures import to_uint8
from pixelsmile.stack import quiet

ImageLike = Image.Image | str | Path


class ExpressionEditor:
    """Change the expression of a face by any amount.

    Make one with `from_pretrained`. An editor may be shared by threads: they take turns.

    Args:
        denoiser: With the LoRA applied, if there is one.
        autoencoder: Whole, with its encoder.
        text_encoder: Of the prompts.
        noise_levels: Stock scheduler, for its time shift.
        domain: Wording of the prompts, `human` or `anime`.
        image_size: Edge of a square edit in pixels; a multiple of 16.
        num_steps: Denoising steps, at least 2.
        identity: Hash of all weights.
        batch_size: Pictures that go through a network together; None chooses.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        autoencoder: Autoencoder,
        text_encoder: PromptEncoder,
        noise_levels: FlowMatchEulerDiscreteScheduler,
        *,
        domain: str = "human",
        image_size: int = 512,
        num_steps: int = 50,
        identity: str = "",
        batch_size: int | None = None,
    ) -> None:
        self.denoiser = denoiser.eval()
        self.autoencoder = autoencoder
        self.text_encoder = text_encoder
        self.noise_levels = noise_levels
        self.domain = domain
        self.prompts = [prompt(word, domain) for word in (NEUTRAL, *EXPRESSIONS)]
        check_size(image_size, image_size)
        self.image_size = image_size
        self.num_steps = num_steps
        self.identity = identity
        self.batch_size = batch_size
        self._turn = threading.Lock()

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "tiny",
        *,
        lora: str | Path | None = None,
        domain: str = "human",
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        num_steps: int | None = None,
        image_size: int | None = None,
        text_size: int | None = None,
        weights: str | Path | None = None,
        batch_size: int | None = None,
    ) -> Self:
        """Load an editor.

        Args:
            model: Name of a file in `configs/model`, such as `tiny`, or folder of a diffusers
                pipeline (with `model_index.json`).
            lora: LoRA file of any dialect, or its folder. None is the base as it is.
            domain: Wording of the prompts: `human` says person, `anime` says character.
            device: None takes a GPU if there is one.
            dtype: None takes what the model's config says: bfloat16 for the real model.
            num_steps: Denoising steps; this and the sizes come from the model's config otherwise.
            image_size: Edge of a square edit in pixels.
            text_size: Edge of the square that the text encoder sees.
            weights: `paths.weights` of the real model.
            batch_size: Pictures that go through a network together; None chooses.

        Raises:
            UserError: If the model, LoRA or domain is unknown or damaged.

        Example:
            >>> editor = ExpressionEditor.from_pretrained("tiny")  # doctest: +SKIP
            >>> editor.edit("me.jpg", "happy", strength=0.8).save("happy.png")  # doctest: +SKIP
        """
        prompt(NEUTRAL, domain)  # refuses an unknown one
        overrides = [f"domain={domain}", *_model_overrides(model)]
        if weights is not None:
            overrides.append(f"paths.weights={weights}")
        with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
            config = compose("editor", overrides)
        given = {"num_steps": num_steps, "sizes.image": image_size, "sizes.text": text_size}
        for key, value in given.items():
            if value is not None:
                _set(config.model, key, value)
        return cls.from_config(config, lora=lora, device=device, dtype=dtype, batch_size=batch_size)

    @classmethod
    def from_config(
        cls,
        config: DictConfig,
        *,
        lora: str | Path | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        batch_size: int | None = None,
    ) -> Self:
        """Load an editor from a composed config with the groups `model` and `domain`.

        Args:
            config: As of `configs/editor.yaml` or `configs/train.yaml`.
            lora: As in `from_pretrained`, as are the others.
            device: None takes a GPU if there is one.
            dtype: None takes what the config says.
            batch_size: None chooses.

        Raises:
            UserError: If weights are missing or damaged.
        """
        quiet()
        model = config.model
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        kind = {} if dtype is None else {"dtype": str(dtype).removeprefix("torch.")}
        denoiser = Denoiser.from_pretrained(
            model.backbone.folder, **({"dtype": model.backbone.dtype} | kind)
        )
        if lora is not None:
            denoiser.apply(read_adapter(lora), fuse=denoiser.dtype == torch.float32)
        return cls(
            denoiser.to(place),
            instantiate(model.autoencoder, **kind).to(place),
            instantiate(model.text_encoder, **kind).to(place),
            instantiate(model.noise_levels),
            domain=config.domain.name,
            image_size=model.sizes.image,
            num_steps=model.num_steps,
            identity=weights_identity(model, lora),
            batch_size=batch_size,
        )

    # ---- the core ---------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.denoiser.parameters()).device

    @torch.no_grad()
    def encode(self, image: ImageLike, size: tuple[int, int] | None = None) -> Source:
        """Encode an image and its 13 prompts, once for any number of edits.

        Args:
            image: PIL image or path.
            size: (height, width) of the edits in pixels, multiples of 16; the image is stretched
                to it. None is a square of `image_size`.

        Raises:
            UserError: If the image cannot be read, or the size is no multiple of 16.
        """
        picture = open_source(image)
        height, width = size or (self.image_size, self.image_size)
        check_size(height, width)
        pixels = to_pixels(picture, height, width)
        with self._turn:
            latent = self.autoencoder.encode(pixels[None].to(self.device))[0]
            states = self.text_encoder.share(picture, self.prompts)
        neutral = torch.cat([states.shared, states.suffixes[0]])
        return Source(pixels, latent, neutral, states.suffixes[1:])

    def render(
        self,
        source: Source,
        weights: Tensor,
        *,
        seed: int = 0,
        speed: str | Speed = "exact",
        progress: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Return one picture a row of weights, (N, 3, H, W), float32, in [-1, 1], on the CPU.

        The prompt of a row is neutral + sum over k of weight_k * (target_k - neutral). All rows
        start from the noise of the seed.

        Args:
            source: From `encode`.
            weights: (N, 12), strength of each expression in the order of `EXPRESSIONS`; any sign.
            seed: Of the noise.
            speed: Name of a file in `configs/speed`, or what such a file makes; docs/speed.md.
            progress: Is told how many pictures were finished since its last call.

        Raises:
            UserError: If weights have another shape or are not finite, or the speed is unknown.
        """
        weights = torch.as_tensor(weights, dtype=torch.float32)
        if weights.dim() != 2 or weights.shape[1] != len(EXPRESSIONS) or not len(weights):
            raise UserError(
                f"weights has shape {tuple(weights.shape)}: give one row of "
                f"{len(EXPRESSIONS)} strengths a picture."
            )
        if not bool(weights.isfinite().all()):
            raise UserError("weights holds nan or inf: give finite strengths.")
        tricks = speed if isinstance(speed, Speed) else load_speed(speed)
        channels, height, width = source.latent.shape
        tokens = (height // 2) * (width // 2)
        with self._turn:
            images = render(
                self.denoiser,
                self.autoencoder,
                Conditions(source.latent, source.neutral, source.suffixes),
                weights.to(self.device),
                draw_noise(channels, height, width, seed),
                sigma_schedule(self.noise_levels, self.num_steps, tokens),
                batch_size=self.batch_size or 16,
                speed=tricks,
                progress=progress,
            )
        return images.cpu()

    # ---- pictures ---------------------------------------------------------------------------

    def edit(
        self,
        image: ImageLike | Source,
        expression: str,
        strength: float = 1.0,
        *,
        seed: int = 0,
        speed: str | Speed = "exact",
    ) -> Image.Image:
        """Return the image with one expression.

        Args:
            image: PIL image, path, or what `encode` returned.
            expression: Any name that `pixelsmile.expressions` knows.
            strength: 0 is neutral, 1 full; 2 exaggerates, negative values invert.
            seed: Of the noise.
            speed: `exact` or `fast`.

        Raises:
            UserError: If the expression is unknown or the image cannot be read.
        """
        return self.blend(image, {expression: 1.0}, strength, seed=seed, speed=speed)

    def blend(
        self,
        image: ImageLike | Source,
        weights: Mapping[str, float],
        strength: float = 1.0,
        *,
        seed: int = 0,
        speed: str | Speed = "exact",
    ) -> Image.Image:
        """Return the image with several expressions at once.

        Args:
            image: PIL image, path, or what `encode` returned.
            weights: Strength of each expression by name; they need not sum to 1.
            strength: Multiplies all of them.
            seed: Of the noise.
            speed: `exact` or `fast`.

        Raises:
            UserError: If an expression is unknown, or the image cannot be read.
        """
        row = strength * weights_of(weights)
        pixels = self.render(self._source(image), row[None], seed=seed, speed=speed)
        return to_pictures(pixels)[0]

    def sweep(
        self,
        image: ImageLike | Source,
        expressions: Sequence[str] | None = None,
        strengths: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
        *,
        seed: int = 0,
        speed: str | Speed = "exact",
        progress: Callable[[int], None] | None = None,
    ) -> Sweep:
        """Return the image in K expressions at S strengths.

        Args:
            image: PIL image, path, or what `encode` returned.
            expressions: Names; None is all twelve.
            strengths: Of any sign and order.
            seed: Of the noise that all pictures share.
            speed: `exact` or `fast`.
            progress: Is told how many pictures were finished since its last call.

        Raises:
            UserError: If an expression is unknown, a list is empty, or the image cannot be read.
        """
        names = tuple(canonical(name) for name in (expressions or EXPRESSIONS))
        if not len(strengths):
            raise UserError("strengths is empty: give at least one number.")
        source = self._source(image)
        steps = torch.tensor([float(strength) for strength in strengths])
        rows = torch.cat([steps[:, None] * weights_of({name: 1.0}) for name in names])
        pixels = self.render(source, rows, seed=seed, speed=speed, progress=progress)
        pictures = to_pictures(pixels)
        count = len(steps)
        return Sweep(
            source=to_pictures(source.image[None])[0],
            images=[pictures[start : start + count] for start in range(0, len(rows), count)],
            expressions=names,
            strengths=tuple(steps.tolist()),
        )

    def _source(self, image: ImageLike | Source) -> Source:
        return image if isinstance(image, Source) else self.encode(image)


def load_speed(name: str) -> Speed:
    """Return what a file in `configs/speed` describes.

    Raises:
        UserError: If there is no such file.
    """
    folder = CONFIG_FOLDER / "speed"
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in names:
        raise UserError(f"Unknown speed {name!r}: choose one of {', '.join(names)}.")
    return instantiate(OmegaConf.load(folder / f"{name}.yaml"), _convert_="all")


def weights_of(strengths: Mapping[str, float]) -> Tensor:
    """Return strengths by name as a row for `render`, (12,).

    `neutral` is allowed and changes nothing.

    Raises:
        UserError: If a name is unknown.

    Example:
        >>> weights_of({"happy": 0.6, "Surprise": 0.4}).nonzero().flatten()
        tensor([ 6, 10])
    """
    row = torch.zeros(len(EXPRESSIONS))
    for name, strength in strengths.items():
        if canonical(name) != NEUTRAL:
            row[index(name)] += float(strength)
    return row


def to_pictures(pixels: Tensor) -> list[Image.Image]:
    """Turn images, (N, 3, H, W) in [-1, 1], into pictures."""
    return [Image.fromarray(array) for array in to_uint8(pixels)]


def _model_overrides(model: str | Path) -> list[str]:
    """Choose the config of a model by name, or the real one's with another folder.

    Raises:
        UserError: If it is neither.
    """
    names = sorted(path.stem for path in (CONFIG_FOLDER / "model").glob("*.yaml"))
    if str(model) in names:
        return [f"model={model}"]
    folder = Path(model)
    if not (folder / "model_index.json").is_file():
        raise UserError(
            f"No model {str(model)!r}: choose one of {', '.join(names)}, or give the folder of a "
            "diffusers pipeline, which holds model_index.json."
        )
    return ["model=qwen_image_edit_2511", f"model.folder='{folder.resolve()}'", "paths.weights=''"]


def _set(node: DictConfig, key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        node = node[parent]
    node[last] = value


def weights_identity(model: DictConfig, lora: str | Path | None) -> str:
    """Return a hash of every weight that decides about pictures."""
    places = [
        model.backbone.folder,
        model.autoencoder.folder,
        Path(model.text_encoder.folder) / "text_encoder",
        Path(model.text_encoder.folder) / "processor",
        *([] if lora is None else [find_file(lora)]),
    ]
    return content_key(*(folder_fingerprint(place) for place in places))[:16]
