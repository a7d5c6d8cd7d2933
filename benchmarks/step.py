"""How long a training step takes, against the plain way to write it and against its floor.

    python benchmarks/step.py --repetitions 15

Everything is timed in one process, in turn, on the same batch of the tiny stack with its shipped
weights; medians are shown, and only their ratios mean anything. Both ways compute Eq. 9 for four
triplets and step AdamW; their losses have to agree to 1e-5.

The plain way runs the two branches one after the other, decodes with the stock 3-D VAE, decodes and
embeds the ground truth in every step with gradients recorded, and aligns and embeds face by face.

The floor is what no step of Eq. 9 can do without: one forward and backward of the MMDiT over both
branches, and one decode of their predictions, through which the losses' gradient has to flow.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLQwenImage
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.data.datamodule import TripletBatch
from pixelsmile.data.reading import read_data
from pixelsmile.flow import add_noise, denoise, sample_sigma, velocity
from pixelsmile.module import PixelSmile, Terms
from pixelsmile.prepare import prepare
from pixelsmile.stack import build_datamodule, build_module, quiet

TOLERANCE = 1e-5


class PlainStep:
    """Eq. 9 as one would write it first.

    Args:
        module: Lends its models, losses and weights.
        folder: Of the stock VAE.
    """

    def __init__(self, module: PixelSmile, folder: str) -> None:
        self.module = module
        self.vae = AutoencoderKLQwenImage.from_pretrained(folder).eval().requires_grad_(False)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode as the stock VAE does, frame cache and 3-D kernels, but without its clamp."""
        vae, scale = self.vae, self.module.autoencoder
        vae.clear_cache()
        vae._conv_idx = [0]
        hidden = vae.post_quant_conv((latents * scale.std + scale.mean).unsqueeze(2))
        return vae.decoder(hidden, feat_cache=vae._feat_map, feat_idx=vae._conv_idx).squeeze(2)

    def recognise(self, images: Tensor, landmarks: Tensor) -> Tensor:
        """Align and embed face by face."""
        faces = zip(images.split(1), landmarks.split(1), strict=True)
        return torch.cat([self.module.recogniser(*face) for face in faces])

    def terms(self, batch: TripletBatch) -> Terms:
        """Return the three losses."""
        module, sigma = self.module, sample_sigma(batch.uniform)
        condition = module.condition(batch).chunk(2)
        targets = batch.target_a, batch.target_b
        landmarks = batch.landmarks_a, batch.landmarks_b
        flows, features, identities, true_features, true_identities = [], [], [], [], []
        for text, target, points in zip(condition, targets, landmarks, strict=True):
            clean = target.detach().requires_grad_()  # the ground truth is in the graph
            noisy = add_noise(clean, batch.noise, sigma)
            predicted = module.backbone(noisy, sigma, batch.source, text)
            flows.append(F.mse_loss(predicted, velocity(clean, batch.noise)))
            image, truth = self.decode(denoise(noisy, predicted, sigma)), self.decode(clean)
            truth = truth.clamp(-1, 1)
            features.append(module.encoder(image))
            true_features.append(module.encoder(truth))
            identities.append(self.recognise(image, points))
            true_identities.append(self.recognise(truth, points))
        return Terms(
            (flows[0] + flows[1]) / 2,
            module.triplet(*features, *true_features),
            module.identity(*identities, *true_identities, sigma),
        )


def weighted(module: PixelSmile, terms: Terms) -> Tensor:
    """Return the loss of Eq. 9."""
    rest = module.triplet_weight * terms.triplet + module.identity_weight * terms.identity
    return terms.flow + rest


def pieces(module: PixelSmile, batch: TripletBatch) -> dict[str, Callable[[], None]]:
    """Return the parts of our step, each with its backward, on inputs of the right sizes."""
    sigma = sample_sigma(batch.uniform)
    clean, noise = torch.cat([batch.target_a, batch.target_b]), batch.noise.repeat(2, 1, 1, 1)
    level, landmarks = sigma.repeat(2), torch.cat([batch.landmarks_a, batch.landmarks_b])
    noisy, text = add_noise(clean, noise, level), module.condition(batch)
    counts = module.identity.active(sigma).repeat(2)
    with torch.no_grad():
        shown = module.autoencoder.decode(clean, clamp=False)

    def backbone() -> None:
        predicted = module.backbone(noisy, level, batch.source.repeat(2, 1, 1, 1), text)
        F.mse_loss(predicted, velocity(clean, noise)).backward()

    def decode() -> None:
        module.autoencoder.decode(clean.detach().requires_grad_(), clamp=False).sum().backward()

    def decode_forward() -> None:
        with torch.no_grad():
            module.autoencoder.decode(clean, clamp=False)

    def encoder() -> None:
        module.encoder(shown.detach().requires_grad_())[:, 0].sum().backward()

    def recogniser() -> None:
        faces = shown[counts].detach().requires_grad_()
        module.recogniser(faces, landmarks[counts])[:, 0].sum().backward()

    def floor() -> None:
        backbone()
        decode()

    parts = {"floor": floor, "MMDiT, both branches": backbone, "decode": decode}
    parts |= {"decode, forward only": decode_forward, "image encoder": encoder}
    return parts | ({"recogniser, counted faces": recogniser} if counts.any() else {})


def steps(
    module: PixelSmile, plain: PlainStep, batch: TripletBatch
) -> dict[str, Callable[[], None]]:
    """Return a whole step of either way, optimizer included."""
    parameters = module.backbone.adapter_parameters()
    optimizer = torch.optim.AdamW(parameters, lr=0.0)  # all repetitions see the same weights

    def finish(terms: Terms) -> None:
        weighted(module, terms).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return {
        "plain step": lambda: finish(plain.terms(batch)),
        "our step": lambda: finish(module.terms(batch)[0]),
    }


def real_batch(folder: Path, domain: str) -> tuple[PixelSmile, PlainStep, TripletBatch]:
    """Draw and prepare a few faces and return the module, the plain way and one batch."""
    paths = [f"paths.{name}={folder / name}" for name in ("runs", "data", "cache")]
    few = ["data.files.train_identities=2", "data.files.val_identities=1", "loss.triplet_weight=1"]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = compose("train", ["name=step", f"domain={domain}", *paths, *few])
    config.loss.identity_weight = 0.1
    faces = read_data(config)
    data = build_datamodule(config, faces, prepare(config, *faces.needed))
    module = build_module(config).train()
    numbers = torch.Generator().manual_seed(0)
    for name, value in module.state_dict().items():
        if "lora_B" in name:  # an adapter that has learned something
            value.copy_(0.02 * torch.randn(value.shape, generator=numbers))
    batch = next(iter(data.train_dataloader()))
    return module, PlainStep(module, config.model.autoencoder.folder), batch


def largest_difference(module: PixelSmile, plain: PlainStep, batch: TripletBatch) -> float:
    """Return how far the three losses of the two ways are apart."""
    ours, _ = module.terms(batch)
    pairs = zip(ours, plain.terms(batch), strict=True)
    return max(abs(float(one.detach() - other.detach())) for one, other in pairs)


def medians(works: dict[str, Callable[[], None]], repetitions: int) -> dict[str, float]:
    """Return the median seconds of each, after one round to warm up; all take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repetitions + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def main() -> None:
    """Time everything and print the table."""
    parser = argparse.ArgumentParser(
        description="Time a training step, the plain way and its floor."
    )
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--domain", choices=("human", "anime"), default="human")
    arguments = parser.parse_args()
    quiet()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        module, plain, batch = real_batch(Path(folder), arguments.domain)
        apart = largest_difference(module, plain, batch)
        if apart > TOLERANCE:
            raise SystemExit(f"The losses differ by {apart:.1e}, more than {TOLERANCE:.0e}.")
        works = steps(module, plain, batch) | pieces(module, batch)
        times = medians(works, arguments.repetitions)

    ours, floor = times["our step"], times["floor"]
    table = Table(title=f"Medians of {arguments.repetitions}, {arguments.threads} threads")
    table.add_column("part")
    table.add_column("ms", justify="right")
    table.add_column("of our step", justify="right")
    for name, value in times.items():
        table.add_row(name, f"{1000 * value:.0f}", f"{value / ours:.2f}")
    bare = times["MMDiT, both branches"] + times["decode, forward only"]
    console = Console()
    console.print(table)
    console.print(f"losses differ by      {apart:.1e} (at most {TOLERANCE:.0e})")
    console.print(f"plain step / ours     {times['plain step'] / ours:.2f} (target: 3 or more)")
    console.print(f"ours / floor          {ours / floor:.2f} (target: 1.3 or less)")
    console.print(f"ours / floor without the gradient of its decode: {ours / bare:.2f}")


if __name__ == "__main__":
    main()
