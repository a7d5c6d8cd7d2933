"""The rebuild of the tiny stack from nothing.

Every stage leaves its result in the work folder, so a stopped rebuild goes on where it was. Two
chains of stages that do not need each other run at once, each on its half of the cores: small
tensors gain little from a second thread. The weights that ship are replaced only when all of them
are there.
"""

import functools
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
from omegaconf import DictConfig

from pixelsmile.expressions import DOMAINS
from pixelsmile.faces.anime import AnimeFaces
from pixelsmile.faces.base import FaceGenerator
from pixelsmile.faces.human import HumanFaces
from pixelsmile.faces.tiny.architectures import build_pipeline, save_part, tiny_transformer
from pixelsmile.faces.tiny.autoencoder_training import train_autoencoder
from pixelsmile.faces.tiny.base_training import EditingSet, join_sets, train_base
from pixelsmile.faces.tiny.card import write_card
from pixelsmile.faces.tiny.clip_training import train_clip
from pixelsmile.faces.tiny.encoding import encode_latents, encode_texts, pair_up
from pixelsmile.faces.tiny.judge_training import train_judge
from pixelsmile.faces.tiny.recogniser_training import train_recognisers
from pixelsmile.faces.tiny.renders import Labels, base_plan, join, judge_plan, render_set
from pixelsmile.faces.tiny.training import Recipe
from pixelsmile.models.autoencoder import Autoencoder
from pixelsmile.models.text import PromptEncoder

_log = logging.getLogger(__name__)

GENERATORS: dict[str, FaceGenerator] = {"human": HumanFaces(), "anime": AnimeFaces()}
BASE_SEED, JUDGE_SEED = 1000, 3000

CHAINS = (("autoencoder",), ("judge", "recognisers", "clip", "texts"))
TEXT_SIZES = (64, 384)  # VL images in training and in the stock pipeline, in pixels

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

    def record(self, name: str) -> Path:
        """Return the file that says that a stage is done."""
        return self.work / f"{name}.json"

    def stage(self, name: str, build: Callable[[], dict[str, Any]]) -> None:
        """Run one stage unless its record says that it is done."""
        record = self.record(name)
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
        minutes, fast = self.config.minutes.autoencoder, self.config.fast
        vae = train_autoencoder(images, minutes=minutes, fast=fast)
        save_part(vae, self.weights / "pipeline/vae")
        return {}

    def judge(self) -> dict[str, Any]:
        """Train the judge."""
        images, labels = join(list(self.renders("judge").values()))
        recipe = Recipe(self.config.minutes.judge, lr=4e-3)
        return train_judge(images, labels, self.weights / "judge", recipe)

    def recognisers(self) -> dict[str, Any]:
        """Train the three recognisers."""
        images, labels = join(list(self.renders("judge").values()))
        recipe = Recipe(self.config.minutes.recogniser)
        return dict(train_recognisers(images, labels, self.weights / "recognisers", recipe))

    def clip(self) -> dict[str, Any]:
        """Train the image encoder of the triplet loss."""
        images, labels = join(list(self.renders("base").values()))
        recipe = Recipe(self.config.minutes.clip)
        return train_clip(images, labels, self.weights / "clip", recipe)

    def latents(self) -> dict[str, Any]:
        """Encode the base images of both domains."""
        folder = self.weights / "pipeline/vae"
        vae = AutoencoderKLQwenImage.from_pretrained(folder, torch_dtype=torch.float32)
        autoencoder = Autoencoder(vae)
        for domain, (images, _) in self.renders("base").items():
            torch.save(encode_latents(autoencoder, images), self.work / f"{domain}-latents.pt")
        return {}

    def texts(self) -> dict[str, Any]:
        """Encode the prompts of the base identities; at the stock size, of some of them."""
        for size in TEXT_SIZES:
            encoder = PromptEncoder.from_pretrained(self.weights / "pipeline", size=size)
            for domain, (images, labels) in self.renders("base").items():
                neutral = np.flatnonzero(labels.scores.sum(1) == 0)
                count = len(neutral) if size == TEXT_SIZES[0] else self.config.long_prompts
                sources = [images[row] for row in neutral[:count]]
                embeddings = encode_texts(encoder, sources, domain)
                torch.save(embeddings, self.work / f"{domain}-texts-{size}.pt")
        return {}

    def base(self) -> dict[str, Any]:
        """Train the base editor to draw every expression."""
        shape = self.config.transformer
        transformer = tiny_transformer(0, layers=shape.layers, heads=shape.heads)
        save_part(transformer, self.work / "start")
        return self.train_transformer(self.work / "start", self.work / "base", self.config.base)

    def confusion(self) -> dict[str, Any]:
        """Train the base editor on, with ambiguous labels."""
        out = self.weights / "pipeline/transformer"
        return self.train_transformer(self.work / "base", out, self.config.confusion)

    def train_transformer(self, start: Path, out: Path, settings: DictConfig) -> dict[str, Any]:
        """Train a transformer from one folder to another.

        Args:
            start: Where it begins.
            out: Receives the running average.
            settings: `repeat`, domains to draw from, each as often as it is named; the others are
                of `train_base`.
        """
        transformer = QwenImageTransformer2DModel.from_pretrained(start, torch_dtype=torch.float32)
        sets = [self.editing_set(size, settings.repeat) for size in TEXT_SIZES]
        options = {str(name): value for name, value in settings.items() if name != "repeat"}
        average, report = train_base(transformer, sets, fast=self.config.fast, **options)
        save_part(average, out)
        return report

    def editing_set(self, text_size: int, domains: Sequence[str]) -> EditingSet:
        """Return what was encoded of some domains, for one size of the VL image."""
        sets = []
        for domain in domains:
            labels = self.renders("base")[domain][1]
            latents = torch.load(self.work / f"{domain}-latents.pt")
            neutral, suffixes = torch.load(self.work / f"{domain}-texts-{text_size}.pt")
            sets.append(pair_up(latents, neutral, suffixes, labels))
        return functools.reduce(join_sets, sets)

    def run_stages(self, names: Sequence[str]) -> None:
        """Run stages by name; those with a record are only read."""
        for name in names:
            self.stage(name, getattr(self, name))

    def run_chains(self) -> None:
        """Run both chains at once, each on its half of the cores."""
        cores = sorted(os.sched_getaffinity(0))
        half = len(cores) // 2 or 1
        # spawn: a fork of a process whose torch threads are up may hang
        with ProcessPoolExecutor(len(CHAINS), mp_context=get_context("spawn")) as pool:
            shares = (cores[:half], cores[-half:])
            chains = [
                pool.submit(_run_chain, self.config, chain, share)
                for chain, share in zip(CHAINS, shares, strict=True)
            ]
            for chain in chains:
                chain.result()

    def run(self) -> None:
        """Run all stages, then put the weights in their place with a model card."""
        self.run_stages(["pipeline"])
        for kind in ("base", "judge"):
            self.renders(kind)
        done = [name for chain in CHAINS for name in chain]
        if not all(self.record(name).exists() for name in done):
            self.run_chains()
        self.run_stages([*done, "latents", "base", "confusion"])
        config = self.config
        write_card(self.weights, self.measured, config.measure_identities, config.edit_identities)
        out = Path(self.config.out)
        old = out.with_name(f"{out.name}.old")
        shutil.copytree(self.weights, new := out.with_name(f"{out.name}.new"), dirs_exist_ok=True)
        if out.exists():
            out.rename(old)
        new.rename(out)
        shutil.rmtree(old, ignore_errors=True)


def _run_chain(config: DictConfig, names: Sequence[str], cores: Sequence[int]) -> None:
    """Run stages in a process of their own, on these cores only."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    os.sched_setaffinity(0, cores)
    torch.set_num_threads(len(cores))
    Rebuild(config).run_stages(names)
