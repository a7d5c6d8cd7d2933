"""What sharing image and words saves, against encoding and storing each prompt whole.

    python benchmarks/prompts.py --repetitions 20

One identity has thirteen prompts: neutral and twelve expressions. "Whole" runs the model once for
each prompt, image included, and stores thirteen embeddings; "shared" is what
`pixelsmile.prepare` does. Both ways take turns within one run, both write one file to the same
folder, and their embeddings are compared. The second table is calculated, not measured.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pixelsmile.conditioning import join_suffix
from pixelsmile.data.cache import TensorCache
from pixelsmile.data.encoding import encode_prompts, prompts_of
from pixelsmile.data.images import Sizes
from pixelsmile.data.samples import Sample, open_image
from pixelsmile.expressions import EXPRESSIONS, NEUTRAL
from pixelsmile.models.text import PromptEncoder

NUM_PROMPTS = 1 + len(EXPRESSIONS)
SUFFIX = 7
"""Tokens from the expression word to the end of the template."""

PREFIX = 64
"""Tokens of the template that are run but not kept."""

WORDS = 20
"""Kept tokens beside those of the image."""

Entry = dict[str, Tensor]


@torch.no_grad()
def encode_whole(sample: Sample, encoder: PromptEncoder) -> Entry:
    """Return the embeddings of all prompts, (13, L, D), each made by a full run of its own."""
    size = (encoder.size, encoder.size)
    opened = open_image(sample.image)
    slot = "Picture 1: <|vision_start|><|image_pad|><|vision_end|>"
    rows = []
    for prompt in prompts_of(sample):
        image = opened.resize(size, Image.Resampling.LANCZOS)
        text = encoder.template.format(slot + prompt)
        inputs = encoder.processor(text=[text], images=[image], return_tensors="pt")
        if encoder.stock_positions:
            del inputs["mm_token_type_ids"]
        inputs = inputs.to(encoder.text_encoder.device)
        hidden = encoder.text_encoder.model(**inputs).last_hidden_state
        rows.append(hidden[0, encoder.prefix_length :])
    return {"embeddings": torch.stack(rows).cpu()}


def encode_shared(sample: Sample, encoder: PromptEncoder) -> Entry:
    """Return what `prepare` stores of the same prompts."""
    return encode_prompts(sample, Sizes(image=encoder.size, text=encoder.size), encoder)


def largest_difference(whole: Entry, shared: Entry) -> float:
    """Return how far the two ways are apart, over every number of every prompt."""
    neutral = shared["neutral"]
    rebuilt = join_suffix(neutral.expand(len(EXPRESSIONS), -1, -1), shared["suffixes"])
    rebuilt = torch.cat([neutral[None], rebuilt])
    return (rebuilt.float() - whole["embeddings"].float()).abs().max().item()


def timed(work: Callable[[], Entry], cache: TensorCache, key: str) -> tuple[float, Entry]:
    """Return the seconds of encoding and storing, and the entry."""
    started = time.perf_counter()
    entry = work()
    cache.write(key, entry)
    return time.perf_counter() - started, entry


def measure(sample: Sample, encoder: PromptEncoder, repetitions: int, folder: Path) -> list[str]:
    """Return one row of the table: both ways in turn, medians."""
    cache = TensorCache(folder)
    ways = {"whole": encode_whole, "shared": encode_shared}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    entries: dict[str, Entry] = {}
    for repetition in range(repetitions + 1):
        for name, way in ways.items():
            spent, entries[name] = timed(lambda way=way: way(sample, encoder), cache, f"{name}x")
            if repetition:  # the first warms up
                seconds[name].append(spent)
    slow, fast = (median(seconds[name]) for name in ways)
    large, small = (cache.path(f"{name}x").stat().st_size for name in ways)
    shape, dtype = entries["shared"]["neutral"].shape, entries["shared"]["neutral"].dtype
    return [
        f"{encoder.size} px, {shape[0]} x {shape[1]}, {str(dtype).removeprefix('torch.')}",
        f"{slow * 1e3:.1f}",
        f"{fast * 1e3:.1f}",
        f"{slow / fast:.1f}x",
        f"{large / 1e3:.0f}",
        f"{small / 1e3:.0f}",
        f"{large / small:.1f}x",
        f"{largest_difference(entries['whole'], entries['shared']):.1g}",
    ]


def measured_table(encoders: list[PromptEncoder], repetitions: int) -> Table:
    """Measure at every size."""
    table = Table(title=f"One identity, thirteen prompts, median of {repetitions}, interleaved")
    for name in ("text image, tokens x width", "whole ms", "shared ms", "faster"):
        table.add_column(name, justify="right")
    for name in ("whole kB", "shared kB", "smaller", "largest difference"):
        table.add_column(name, justify="right")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        blotches = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(blotches).resize((512, 512)).save(folder / "face.png")
        sample = Sample(folder / "face.png", "a", "human", NEUTRAL, (0.0,) * len(EXPRESSIONS))
        for encoder in encoders:
            table.add_row(*measure(sample, encoder, repetitions, folder / "cache"))
    return table


def flops(image_tokens: int, tokens: int) -> tuple[float, float]:
    """Return FLOPs of Qwen2.5-VL-7B: of the vision tower for one image, and of the decoder.

    Two for each weight and token; attention scores, a few percent here, are left out. Widths are
    those of the published configuration.
    """
    width, mlp, layers, heads_kv = 3584, 18944, 28, 2 * 512
    decoder = layers * (2 * width**2 + width * heads_kv + 3 * width * mlp)
    vision = 32 * (4 * 1280**2 + 3 * 1280 * 3420)
    merger = 5120**2 + 5120 * width
    return 2 * (4 * image_tokens * vision + image_tokens * merger), 2 * tokens * decoder


def calculated_table(identities: int = 6000, width: int = 3584, num_bytes: int = 2) -> Table:
    """Work out what the real text encoder needs for a set of the paper's size."""
    table = Table(
        title=f"CALCULATED, not run: {identities:,} identities, Qwen2.5-VL-7B ({width} wide), bf16",
        caption="Two FLOPs for each weight and token; hours at an assumed 100 TFLOP/s sustained.",
    )
    for name in ("text image", "way", "tokens run", "TFLOP", "hours", "MB stored", "GB in all"):
        table.add_column(name, justify="right")
    for size, image_tokens in ((384, 196), (512, 324)):
        kept = image_tokens + WORDS
        run, parts = PREFIX + kept, NUM_PROMPTS
        ways = {
            "whole": (parts, parts * run, parts * kept),
            "shared": (1, run - SUFFIX + parts * SUFFIX, kept + (parts - 1) * SUFFIX),
        }
        totals = []
        for name, (looks, tokens, stored) in ways.items():
            vision, decoder = flops(image_tokens, tokens)
            cost, megabytes = (looks * vision + decoder) / 1e12, stored * width * num_bytes / 1e6
            totals.append((cost, megabytes))
            table.add_row(
                f"{size} px, {kept} tokens",
                name,
                f"{tokens}",
                f"{cost:.1f}",
                f"{cost * identities / 100 / 3600:.2f}",
                f"{megabytes:.1f}",
                f"{megabytes * identities / 1e3:.1f}",
            )
        (slow, large), (fast, small) = totals
        table.add_row("", "ratio", "", f"{slow / fast:.1f}x", "", f"{large / small:.1f}x", "")
    return table


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="Shared against whole prompt encoding.")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 384])
    shipped = files("pixelsmile.faces.tiny") / "weights" / "pipeline"
    parser.add_argument("--folder", default=str(shipped), help="a pipeline folder")
    parser.add_argument("--dtype", default="float32", help="of the text encoder and of storage")
    options = parser.parse_args()
    loaded = PromptEncoder.from_pretrained(options.folder, dtype=options.dtype)
    encoders = [
        PromptEncoder(loaded.text_encoder, loaded.processor, size=size) for size in options.sizes
    ]
    console = Console()
    console.print(measured_table(encoders, options.repetitions))
    console.print(calculated_table())


if __name__ == "__main__":
    main()
