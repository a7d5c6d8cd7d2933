"""What every edit stands on: encode an image once, then render rows of weights.

Shapes: N pictures, H W image.
"""

import threading

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from pixelsmile.editing import loading
from pixelsmile.editing.framing import edit_size
from pixelsmile.editing.memory import batch_size as fitting_batch
from pixelsmile.editing.placement import Placement, Resident
from pixelsmile.editing.source import ImageLike, Source, check_size, open_source, to_pixels
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, NEUTRAL, prompt
from pixelsmile.models.autoencoder import Autoencoder
from pixelsmile.models.denoiser import Denoiser
from pixelsmile.models.renderer import Advance, draw_noise, render
from pixelsmile.models.sampler import Conditions, sigma_schedule
from pixelsmile.models.speed import Speed
from pixelsmile.models.text import PromptEncoder


class Engine:
    """Encode images and render rows of weights. May be shared by threads: they take turns.

    Args:
        denoiser: With the LoRA applied, if there is one.
        autoencoder: Whole, with its encoder.
        text_encoder: Of the prompts.
        noise_levels: Stock scheduler, for its time shift.
        domain: Wording of the prompts, `human` or `anime`.
        image_size: Edge of a square edit in pixels; a multiple of 16.
        num_steps: Denoising steps, at least 2.
        identity: Hash of all weights.
        batch_size: Pictures that go through a network together; None takes what fits.
        device: Of the networks.
        placement: Whether they stay there.
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
        device: torch.device | str = "cpu",
        placement: Placement | None = None,
    ) -> None:
        check_size(image_size, image_size)
        if type(num_steps) is not int or num_steps < 2:
            raise UserError(f"num_steps={num_steps}: give 2 steps or more.")
        if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
            raise UserError(f"batch_size={batch_size}: give 1 or more, or None for what fits.")
        self.prompts = [prompt(word, domain) for word in (NEUTRAL, *EXPRESSIONS)]
        self.denoiser = denoiser.eval()
        self.autoencoder = autoencoder
        self.text_encoder = text_encoder
        self.noise_levels = noise_levels
        self.domain = domain
        self.image_size = image_size
        self.num_steps = num_steps
        self.identity = identity
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.placement = placement or Resident()
        self.placement.place([denoiser, autoencoder, text_encoder], self.device)
        self._turn = threading.Lock()

    @torch.no_grad()
    def encode(self, image: ImageLike, size: tuple[int, int] | None = None) -> Source:
        """Encode an image and its 13 prompts, once for any number of edits.

        Args:
            image: PIL image or path.
            size: (height, width) of the edits in pixels, multiples of 16; the image is stretched
                to it. None keeps its shape, at the area of a square of `image_size`.

        Raises:
            UserError: If the image cannot be read or is a long strip, or the size is no multiple
                of 16.
        """
        picture = open_source(image)
        height, width = size or edit_size(*picture.size, self.image_size)
        check_size(height, width)
        pixels = to_pixels(picture, height, width)
        with self._turn:
            with self.placement.using(self.autoencoder):
                latent = self.autoencoder.encode(pixels[None].to(self.device))[0]
            with self.placement.using(self.text_encoder):
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
        progress: Advance | None = None,
    ) -> Tensor:
        """Return one picture a row of weights, (N, 3, H, W), float32, in [-1, 1], on the CPU.

        The prompt of a row is neutral + sum over k of weight_k * (target_k - neutral). All rows
        start from the noise of the seed.

        Args:
            source: From `encode`.
            weights: (N, 12), strength of each expression in the order of `EXPRESSIONS`; any sign.
            seed: Of the noise.
            speed: File name in `configs/editing/speed`, or what it makes; see docs/speed.md.
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
        tell = _Once(progress)
        with self._turn:
            count = self.batch_size or self._fitting(source)
            while True:
                try:
                    return self._render(source, weights, seed, tricks, count, tell.again())
                except torch.OutOfMemoryError:
                    if count == 1:
                        raise
                    count = self.batch_size = count // 2
                    torch.cuda.empty_cache()

    def _render(
        self,
        source: Source,
        weights: Tensor,
        seed: int,
        speed: Speed,
        batch_size: int,
        progress: Advance,
    ) -> Tensor:
        channels, height, width = source.latent.shape
        conditions = Conditions(source.latent, source.neutral, source.suffixes)
        images = render(
            self.denoiser,
            self.autoencoder,
            Conditions(*(tensor.to(self.device) for tensor in conditions)),
            weights.to(self.device),
            draw_noise(channels, height, width, seed),
            sigma_schedule(self.noise_levels, self.num_steps, height * width // 4),
            batch_size=batch_size,
            speed=speed,
            progress=progress,
            using=self.placement.using,
        )
        return images.cpu()

    def _fitting(self, source: Source) -> int:
        _, height, width = source.latent.shape
        return fitting_batch(
            self.device,
            tokens=height * width // 2 + len(source.neutral),
            width=self.denoiser.transformer.inner_dim,
            pixels=source.image[0].numel(),
            itemsize=self.denoiser.dtype.itemsize,
        )


def load_speed(name: str) -> Speed:
    """Return what a file in `configs/editing/speed` describes.

    Raises:
        UserError: If there is no such file.
    """
    return loading.choose("speed", name)


class _Once:
    """Pass progress on, but not again for work that starts over."""

    def __init__(self, progress: Advance | None) -> None:
        self.progress = progress or (lambda count: None)
        self.told = self.done = 0

    def again(self) -> Advance:
        """Return what to report to in the next attempt."""
        self.done = 0
        return self._advance

    def _advance(self, count: int) -> None:
        self.done += count
        if self.done > self.told:
            self.progress(self.done - self.told)
            self.told = self.done
