"""Rebuild the tiny stack from nothing: `python -m pixelsmile.faces.tiny`.

Stages run in order and leave their result in the work folder, so a stopped rebuild goes on with the
stage it was in. The weights that ship are replaced only when all of them are there.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLQwenImage
from omegaconf import DictConfig

from pixelsmile.command import command
from pixelsmile.expressions import DOMAINS
from pixelsmile.faces.anime import AnimeFaces
from pixelsmile.faces.base import FaceGenerator
from pixelsmile.faces.human import HumanFaces
from pixelsmile.faces.tiny.architectures import build_pipeline, save_part, tiny_transformer
from pixelsmile.faces.tiny.autoencoder_training import train_autoencoder
from pixelsmile.faces.tiny.base_training import EditingSet, join_sets, train_base
from pixelsmile.faces.tiny.card import write_card
from pixelsmile.faces.tiny.clip_training import train_clip
from pixelsmile.faces.tiny.encoding import encode_set
from pixelsmile.faces.tiny.judge_training import train_judge
from pixelsmile.faces.tiny.recogniser_training import train_recognisers
from pixelsmile.faces.tiny.renders import Labels, base_plan, join, judge_plan, render_set
from pixelsmile.models.autoencoder import Autoencoder
from pixelsmile.models.text import PromptEncoder

_log = logging.getLogger(__name__)

GENERATORS: dict[str, FaceGenerator] = {"human": HumanFaces(), "anime": AnimeFaces()}
BASE_SEED, JUDGE_SEED = 1000, 3000

Images = tuple[np.ndarray, Labels]


class Rebuild:
    """One rebuild: its folders, its renders, its stages."""

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.work = Path(config.work)
        self.weights = self.work / "weights"
        self.measured: dict[str, Any] = {}

    def renders(self, kind: str) -> dict[str, Images]:
        """Return the `base` or `judge` images of every domain."""
        first, plan = (BASE_SEED, base_plan) if kind == "base" else (JUDGE_SEED, judge_plan)
        counts = self.config[f"{kind}_identities"]
        self.work.mkdir(parents=True, exist_ok=True)
        return {
            domain: render_set(
                GENERATORS[domain],
                range(first, first + counts[domain]),
                plan,
                self.work / f"{domain}-{kind}",
                workers=self.config.threads,
            )
            for domain in DOMAINS
        }

    def stage(self, name: str, build: Callable[[], dict[str, Any]]) -> None:
        """Run one stage unless its record says that it is done."""
        record = self.work / f"{name}.json"
        if record.exists():
            self.measured[name] = json.loads(record.read_text())
            return
        _log.info("stage %s", name)
        start = time.monotonic()
        result = build()
        self.measured[name] = {**result, "minutes": (time.monotonic() - start) / 60}
        record.write_text(json.dumps(self.measured[name], indent=2))

    def pipeline(self) -> dict[str, Any]:
        """Write the untrained pipeline, with its final tokenizer and text encoder."""
        shape = self.config.transformer
        build_pipeline(self.weights / "pipeline", layers=shape.layers, heads=shape.heads)
        return {}

    def autoencoder(self) -> dict[str, Any]:
        """Train the VAE."""
        images = np.concatenate([images for images, _ in self.renders("base").values()])
        vae = train_autoencoder(images, minutes=self.config.minutes.autoencoder)
        save_part(vae, self.weights / "pipeline/vae")
        return {}

    def judge(self) -> dict[str, Any]:
        """Train the judge."""
        images, labels = join(list(self.renders("judge").values()))
        minutes, threads = self.config.minutes.judge, self.config.threads
        return train_judge(images, labels, self.weights / "judge", minutes, threads=threads)

    def recognisers(self) -> dict[str, Any]:
        """Train the three recognisers."""
        images, labels = join(list(self.renders("judge").values()))
        minutes, threads = self.config.minutes.recogniser, self.config.threads
        folder = self.weights / "recognisers"
        return dict(train_recognisers(images, labels, folder, minutes, threads=threads))

    def clip(self) -> dict[str, Any]:
        """Train the image encoder of the triplet loss."""
        images, labels = join(list(self.renders("base").values()))
        minutes, threads = self.config.minutes.clip, self.config.threads
        return train_clip(images, labels, self.weights / "clip", minutes, threads=threads)

    def base(self) -> dict[str, Any]:
        """Train the base editor."""
        shape = self.config.transformer
        transformer = tiny_transformer(0, layers=shape.layers, heads=shape.heads)
        average = train_base(
            transformer, self.editing_set(64), minutes=self.config.minutes.base, seed=0
        )
        save_part(average, self.weights / "pipeline/transformer")
        return {}

    def editing_set(self, text_size: int) -> EditingSet:
        """Encode the base images of both domains."""
        file = self.work / f"editing-{text_size}.pt"
        if not file.exists():
            folder = self.weights / "pipeline"
            vae = AutoencoderKLQwenImage.from_pretrained(folder / "vae", torch_dtype=torch.float32)
            autoencoder = Autoencoder(vae)
            encoder = PromptEncoder.from_pretrained(folder, size=text_size)
            sets = [
                encode_set(autoencoder, encoder, images, labels)
                for images, labels in self.renders("base").values()
            ]
            torch.save(join_sets(*sets), file)
        return torch.load(file, weights_only=False)

    def run(self) -> None:
        """Run all stages, then put the weights in their place with a model card."""
        for build in (
            self.pipeline,
            self.autoencoder,
            self.judge,
            self.recognisers,
            self.clip,
            self.base,
        ):
            self.stage(build.__name__, build)
        write_card(self.weights, self.measured, self.config.measure_identities)
        out = Path(self.config.out)
        old = out.with_name(f"{out.name}.old")
        shutil.copytree(self.weights, new := out.with_name(f"{out.name}.new"), dirs_exist_ok=True)
        if out.exists():
            out.rename(old)
        new.rename(out)
        shutil.rmtree(old, ignore_errors=True)


@command("tiny")
def main(config: DictConfig) -> None:
    """Rebuild all tiny weights."""
    torch.set_num_threads(config.threads)
    Rebuild(config).run()


if __name__ == "__main__":
    main()
