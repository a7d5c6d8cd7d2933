"""The Python API: one object that edits images.

Shapes: K expressions, S strengths.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import torch
from omegaconf import DictConfig
from PIL import Image

from pixelsmile.building import build
from pixelsmile.editing import loading
from pixelsmile.editing.engine import Engine
from pixelsmile.editing.rows import weights_of
from pixelsmile.editing.source import ImageLike, Source
from pixelsmile.editing.sweep import Sweep
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, NEUTRAL, canonical, prompt
from pixelsmile.models.renderer import Advance
from pixelsmile.models.speed import Speed
from pixelsmile.pictures import to_pictures
from pixelsmile.stack import quiet


class ExpressionEditor(Engine):
    """Change the expression of a face by any amount; make one with `from_pretrained`."""

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
        offload: str = "none",
        compile: bool = False,
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
            batch_size: Pictures that go through a network together; None takes what fits.
            offload: Name of a file in `configs/editing/offload`: none, model or group.
            compile: Compile the transformer's blocks, which pays for many edits on a GPU.

        Raises:
            UserError: If the model, LoRA, domain or another setting is unknown or damaged.

        Example:
            >>> editor = ExpressionEditor.from_pretrained("tiny")  # doctest: +SKIP
            >>> editor.edit("me.jpg", "happy", strength=0.8).save("happy.png")  # doctest: +SKIP
        """
        prompt(NEUTRAL, domain)  # refuses an unknown one
        given = {"num_steps": num_steps, "sizes.image": image_size, "sizes.text": text_size}
        config = loading.model_config(model, domain, weights, given)
        return cls.from_config(
            config,
            lora=lora,
            device=device,
            dtype=dtype,
            batch_size=batch_size,
            offload=offload,
            compile=compile,
        )

    @classmethod
    def from_config(
        cls,
        config: DictConfig,
        *,
        lora: str | Path | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        batch_size: int | None = None,
        offload: str = "none",
        compile: bool = False,
    ) -> Self:
        """Load an editor from a composed config with the groups `model` and `domain`.

        Args:
            config: As of `configs/editor.yaml` or `configs/train.yaml`.
            lora: As in `from_pretrained`, as are the others.
            device: None takes a GPU if there is one.
            dtype: None takes what the config says.
            batch_size: None takes what fits.
            offload: Name of a file in `configs/editing/offload`.
            compile: Compile the transformer's blocks.

        Raises:
            UserError: If weights are missing or damaged, or a setting is unknown.
        """
        quiet()
        model, place = config.model, loading.checked_device(device)
        name = loading.checked_dtype(dtype)
        kind = {} if name is None else {"dtype": name}
        denoiser = loading.load_denoiser(model, lora, name)
        if compile:
            denoiser.transformer.compile_repeated_blocks()
        return cls(
            denoiser,
            build(model.autoencoder, **kind),
            build(model.text_encoder, **kind),
            build(model.noise_levels),
            domain=config.domain.name,
            image_size=model.sizes.image,
            num_steps=model.num_steps,
            identity=loading.weights_identity(model, lora),
            batch_size=batch_size,
            device=place,
            placement=loading.choose("offload", offload),
        )

    def edit(
        self,
        image: ImageLike | Source,
        expression: str,
        strength: float = 1.0,
        *,
        seed: int = 0,
        speed: str | Speed = "exact",
    ) -> Image.Image:
        """Return the image with one expression, in its shape, at the area the model was made for.

        The whole image goes through the model: crop photos to the head and shoulders first, or use
        `python -m pixelsmile.edit`, which finds the face and puts the edit back into the photo.

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
        """Return the image with several expressions at once; shape and size are those of `edit`.

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
        progress: Advance | None = None,
    ) -> Sweep:
        """Return the image in K expressions at S strengths; shape and size are those of `edit`.

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
        names = tuple(map(canonical, EXPRESSIONS if expressions is None else expressions))
        if not names or not len(strengths):
            empty = "strengths" if names else "expressions"
            raise UserError(f"{empty} is empty: give at least one.")
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
