"""Time a sweep of 12 expressions x 5 strengths, against the stock parts picture by picture.

    python benchmarks/sweep.py --human runs/human/lora --anime runs/anime/lora
    python benchmarks/sweep.py --quick

Prints everything in one run:

1. equal work: the stock pipeline with prompts encoded for each picture, against speed=exact, with
   the largest difference of a pixel (at most 1e-3 of a range of 2);
2. the seconds of every speed and of each trick alone, all in turn, so that their ratios hold on a
   machine that is not quiet;
3. the operations of the transformer at full size, computed (`pixelsmile.models.flops`);
4. the metrics of all of them on people that nothing was trained on, with a star where a value
   leaves the 95 % interval of the exact way.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers import QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as stock
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pixelsmile import ExpressionEditor
from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.editing.engine import load_speed
from pixelsmile.expressions import EXPRESSIONS, NEUTRAL, prompt
from pixelsmile.faces.base import RESERVED_SEED, Face
from pixelsmile.models.denoiser import pack_latents
from pixelsmile.models.flops import (
    Call,
    Job,
    Sizes,
    call_flops,
    calls_of,
    per_picture_flops,
)
from pixelsmile.models.operations import Operations
from pixelsmile.models.renderer import draw_noise
from pixelsmile.models.speed import Speed
from pixelsmile.progress import track
from pixelsmile.scoring import METRIC_NAMES, EditingMetrics

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
TOLERANCE = 1e-3


def sweep_weights() -> Tensor:
    """Return 12 x 5 rows, (60, 12)."""
    return (torch.eye(12)[:, None] * torch.tensor(STRENGTHS)[:, None]).flatten(0, 1)


def variants() -> dict[str, Speed]:
    """Return every speed that ships, and each trick of them alone."""
    speeds = {name: load_speed(name) for name in ("exact", "fast", "draft")}
    tricks = [trick for speed in speeds.values() for trick in speed.tricks]
    return speeds | {str(trick): Speed((trick,)) for trick in tricks}


class PerPicture:
    """The stock pipeline, called for one picture after the other.

    Args:
        editor: Says sizes, steps and prompts.
        folder: Of the pipeline.
        lora: Loaded by the pipeline itself.
    """

    def __init__(self, editor: ExpressionEditor, folder: str, lora: str | None) -> None:
        self.editor = editor
        self.pipeline = QwenImageEditPlusPipeline.from_pretrained(folder)
        self.pipeline.set_progress_bar_config(disable=True)
        if lora is not None:
            self.pipeline.load_lora_weights(lora)
        edge, small = editor.image_size, editor.text_encoder.size
        stock.VAE_IMAGE_SIZE, stock.CONDITION_IMAGE_SIZE = edge * edge, small * small

    @torch.no_grad()
    def __call__(self, image: Image.Image, word: str, strength: float) -> Tensor:
        """Return one picture, (3, H, W), in [-1, 1]."""
        editor, pipeline = self.editor, self.pipeline
        encode: Any = pipeline.encode_prompt  # its annotations ask for tensors
        edge, small = editor.image_size, editor.text_encoder.size
        seen = image.resize((small, small), Image.Resampling.LANCZOS)
        neutral, target = (
            encode(image=[seen], prompt=prompt(name, editor.domain))[0] for name in (NEUTRAL, word)
        )
        pixels: Any = pipeline(
            image=image,
            prompt_embeds=torch.lerp(neutral, target, strength),
            latents=pack_latents(draw_noise(16, edge // 8, edge // 8, 0)[None]),
            height=edge,
            width=edge,
            num_inference_steps=editor.num_steps,
            true_cfg_scale=1.0,
            output_type="pt",
        )
        return pixels.images[0] * 2 - 1

    def sweep(self, image: Image.Image) -> Tensor:
        """Return 60 pictures, (60, 3, H, W)."""
        pairs = [(word, strength) for word in EXPRESSIONS for strength in STRENGTHS]
        return torch.stack([self(image, *pair) for pair in pairs])


def medians(
    works: dict[str, Callable[[], Tensor]], repetitions: int
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Return the median seconds of each, all in turn after a round to warm up, and the results.

    Without repetitions the seconds are those of the first round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    results: dict[str, Tensor] = {}
    for _ in range(repetitions + 1):
        for name, work in works.items():
            started = time.perf_counter()
            results[name] = work()
            seconds[name].append(time.perf_counter() - started)
    kept = {name: values[1:] or values for name, values in seconds.items()}
    return {name: statistics.median(values) for name, values in kept.items()}, results


def time_all(editor: ExpressionEditor, plain: PerPicture, face: Face, repetitions: int) -> Table:
    """Time the stock way and every variant on one face.

    Raises:
        SystemExit: If the exact pictures are not those of the stock way.
    """
    image, weights = Image.fromarray(face.image), sweep_weights()

    def edit(speed: Speed) -> Callable[[], Tensor]:
        return lambda: editor.render(editor.encode(image), weights, speed=speed)

    works = {"stock, per picture": lambda: plain.sweep(image)}
    works |= {name: edit(speed) for name, speed in variants().items()}
    times, pictures = medians(works, repetitions)
    before, exact = times["stock, per picture"], pictures["exact"]
    apart = float((exact - pictures["stock, per picture"]).abs().max())
    if apart > TOLERANCE:
        raise SystemExit(f"exact differs from stock by {apart:.1e}, more than {TOLERANCE:.0e}.")
    shown = f"median of {repetitions} rounds" if repetitions else "one round, not warmed up"
    table = Table(title=f"60 pictures, {editor.num_steps} steps, {shown}")
    for title in ("", "s", "times as fast", "largest difference to stock", "mean"):
        table.add_column(title, justify="left" if not title else "right")
    for name, seconds in times.items():
        gap = (pictures[name] - pictures["stock, per picture"]).abs()
        ratio = f"{before / seconds:.2f}"
        table.add_row(name, f"{seconds:.2f}", ratio, f"{gap.max():.1e}", f"{gap.mean():.1e}")
    return table


def price_all(editor: ExpressionEditor) -> Table:
    """Compute the operations of the transformer at full size.

    Raises:
        SystemExit: If the formula disagrees with torch's counter on the tiny stack.
    """
    check_formula(editor)
    table = Table(title="PFLOP of the transformer at full size, 60 pictures, 50 steps (computed)")
    jobs = {"512 px": Job(), "1024 px": Job(edge=1024)}
    table.add_column("")
    for name in jobs:
        table.add_column(name, justify="right")
        table.add_column("times fewer", justify="right")
    plain = {name: per_picture_flops(Sizes(), job, 60) for name, job in jobs.items()}
    rows = {"stock, per picture": plain}
    for name, speed in variants().items():
        rows[name] = {
            size: sum(
                call_flops(Sizes(), call)
                for call in calls_of(speed, sweep_weights(), editor.noise_levels, job)
            )
            for size, job in jobs.items()
        }
    for name, costs in rows.items():
        cells = [(f"{costs[size] / 1e15:.1f}", f"{plain[size] / costs[size]:.2f}") for size in jobs]
        table.add_row(name, *(text for cell in cells for text in cell))
    return table


def check_formula(editor: ExpressionEditor) -> None:
    """Compare the formula with torch's counter, on a whole call of the editor's transformer.

    Raises:
        SystemExit: If they disagree.
    """
    config: Any = editor.denoiser.transformer.config
    width = config.num_attention_heads * config.attention_head_dim
    sizes = Sizes(config.num_layers, width, config.joint_attention_dim)
    edge, text = editor.image_size // 8, torch.zeros(2, 24, config.joint_attention_dim)
    latent, level = torch.zeros(2, 16, edge, edge), torch.ones(2)
    with torch.no_grad(), Operations() as found:
        editor.denoiser(latent, level, latent, text)
    expected = call_flops(sizes, Call(2, 2 * (edge // 2) ** 2, 24))
    if found.total != expected:
        raise SystemExit(f"The formula says {expected} operations, torch counts {found.total}.")


def measure(
    editor: ExpressionEditor, faces: Any, scorer: Any, identities: int
) -> dict[str, EditingMetrics]:
    """Edit the faces of reserved people in every way and score the pictures."""
    weights, strengths = sweep_weights(), torch.tensor(STRENGTHS)
    metrics = {name: EditingMetrics() for name in variants()}
    for seed in track(range(RESERVED_SEED, RESERVED_SEED + identities), "Editing people"):
        face = faces.render(seed, {}, size=editor.image_size)
        source = editor.encode(Image.fromarray(face.image))
        points = torch.tensor(face.landmarks, dtype=torch.float32)[None]
        known = scorer.identities(source.image[None], points)
        for name, speed in variants().items():
            pixels = editor.render(source, weights, speed=speed)
            embedded = scorer.identities(pixels, points.expand(len(pixels), -1, -1))
            metrics[name].update(
                requested=torch.arange(len(EXPRESSIONS)),
                strengths=strengths,
                scores=scorer.expressions(pixels).unflatten(0, (12, len(strengths))),
                source=known.expand(-1, len(EXPRESSIONS), -1),
                edited=embedded.unflatten(1, (12, len(strengths))),
            )
    return metrics


def metric_table(metrics: dict[str, EditingMetrics], title: str) -> Table:
    """Lay out the metrics, with a star outside of the interval of the exact way."""
    results = {name: metric.compute() for name, metric in metrics.items()}
    exact = results["exact"]
    table = Table(title=title)
    table.add_column("")
    for name in METRIC_NAMES:
        table.add_column(name, justify="right")
    intervals = [f"{exact[name]['low']:.3f} to {exact[name]['high']:.3f}" for name in METRIC_NAMES]
    table.add_row("interval of exact", *intervals)
    for variant, result in results.items():
        cells = []
        for name in METRIC_NAMES:
            value = result[name]["value"]
            inside = exact[name]["low"] <= value <= exact[name]["high"]
            cells.append(f"{value:.3f}" + ("" if inside else "*"))
        table.add_row(variant, *cells)
    return table


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description="Time and score sweeps; see the module's text.")
    parser.add_argument("--human", help="LoRA of the human domain; none is the base")
    parser.add_argument("--anime", help="LoRA of the anime domain; none is the base")
    parser.add_argument("--domains", nargs="*", default=["human", "anime"])
    parser.add_argument("--identities", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--steps", type=int, help="of denoising; the model's own by default")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="one round, one identity")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.identities, arguments.repetitions = 1, 0
    torch.set_num_threads(arguments.threads)
    console = Console(width=200)
    editor = None
    for domain in arguments.domains:
        with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
            config = compose("editor", [f"domain={domain}"])
        if arguments.steps:
            config.model.num_steps = arguments.steps
        lora, faces = getattr(arguments, domain), instantiate(config.domain.faces)
        editor = ExpressionEditor.from_config(config, lora=lora)
        face = faces.render(RESERVED_SEED, {}, size=editor.image_size)
        plain = PerPicture(editor, config.model.folder, lora)
        console.print(f"{domain}, LoRA {lora}, {arguments.threads} threads")
        console.print(time_all(editor, plain, face, arguments.repetitions))
        scorer = instantiate(config.model.scorer)
        metrics = measure(editor, faces, scorer, arguments.identities)
        console.print(metric_table(metrics, f"{domain}, {arguments.identities} people"))
    if editor is not None:
        console.print(price_all(editor))


if __name__ == "__main__":
    main()
