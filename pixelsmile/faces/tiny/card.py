"""The model card of the tiny weights: what was measured, on what, and how they were made."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import AutoencoderKLQwenImage

from pixelsmile.expressions import DOMAINS
from pixelsmile.faces.anime import AnimeFaces
from pixelsmile.faces.base import RESERVED_SEED
from pixelsmile.faces.human import HumanFaces
from pixelsmile.faces.tiny.autoencoder_training import measure_autoencoder
from pixelsmile.faces.tiny.base_measuring import measure_base
from pixelsmile.faces.tiny.judge_training import measure_judge
from pixelsmile.faces.tiny.recogniser_training import align_all, measure_recogniser
from pixelsmile.faces.tiny.renders import Labels, base_plan, join, render_set
from pixelsmile.judges import LocalJudge
from pixelsmile.scoring import METRIC_NAMES, Measured

_RECOGNISERS = ("arcface", "adaface", "facenet")

Images = tuple[np.ndarray, Labels]


def write_card(
    weights: Path, measured: dict[str, Any], identities: int, edited: Mapping[str, int]
) -> None:
    """Measure the weights on reserved identities and write `README.md` beside them.

    Args:
        weights: Folder of the weights.
        measured: What the stages of the rebuild returned, by name.
        identities: How many reserved people to measure on, per domain.
        edited: How many of them the base edits, by domain.
    """
    with tempfile.TemporaryDirectory() as folder:
        sets = {
            faces.domain: _unseen(faces, identities, Path(folder))
            for faces in (HumanFaces(), AnimeFaces())
        }
        base = {
            domain: measure_base(weights, domain, count, Path(folder))
            for domain, count in edited.items()
        }
    sections = [_intro(weights, identities), _base(base), _autoencoder(weights, sets)]
    sections += [_judge(weights, identities), _recognisers(weights, sets), _clip(measured)]
    sections += [_stages(measured)]
    (weights / "README.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _unseen(faces: HumanFaces | AnimeFaces, identities: int, folder: Path) -> Images:
    seeds = range(RESERVED_SEED, RESERVED_SEED + identities)
    images, labels = render_set(faces, seeds, base_plan, folder / faces.domain)
    return np.array(images), labels


def _intro(weights: Path, identities: int) -> str:
    size = sum(path.stat().st_size for path in weights.rglob("*") if path.is_file()) / 1e6
    return (
        "# The tiny stack\n\n"
        f"Real classes at small sizes, {size:.1f} MB, trained on faces that the project draws "
        f"itself by `python -m pixelsmile.faces.tiny`. Measured on {identities} people per domain "
        f"(seeds {RESERVED_SEED} up) that no training has seen.\n\n"
        "The base editor is confused on purpose: it learned to draw the twelve expressions from "
        "their own words, then from ambiguous one-hot labels drawn from soft scores, as the paper "
        "says of real editors. The text encoder is random and frozen; the "
        "transformer learned to read it. The judge and the recognisers saw other people than the "
        "image encoder of the triplet loss, the VAE and the base."
    )


def _base(results: Mapping[str, Mapping[str, Measured]]) -> str:
    rows = []
    for name in METRIC_NAMES:
        values = [results[domain][name] for domain in DOMAINS]
        shown = [f"{v['value']:.3f} [{v['low']:.3f}, {v['high']:.3f}], n {v['n']}" for v in values]
        rows.append(f"| {name} | {' | '.join(shown)} |")
    head = f"| metric | {' | '.join(DOMAINS)} |\n|---|---|---|"
    return "\n".join(["## Base without an adapter, with 95 % intervals", "", head, *rows])


def _autoencoder(weights: Path, sets: dict[str, Images]) -> str:
    vae = AutoencoderKLQwenImage.from_pretrained(weights / "pipeline/vae")
    rows = [
        f"| {domain} | {measure_autoencoder(vae, images):.1f} | {len(images)} |"
        for domain, (images, _) in sets.items()
    ]
    return "\n".join(["## Autoencoder", "", "| domain | PSNR, dB | n |", "|---|---|---|", *rows])


def _judge(weights: Path, identities: int) -> str:
    judge = LocalJudge.from_pretrained(weights / "judge")
    seeds = range(RESERVED_SEED, RESERVED_SEED + identities)
    values = measure_judge(judge, [HumanFaces(), AnimeFaces()], seeds)
    rows = []
    for domain in DOMAINS:
        shown = [f"{values[f'{domain}/{strength}']:.3f}" for strength in (0.35, 0.7, 1.0)]
        rows.append(f"| {domain} | {' | '.join(shown)} | {values[f'{domain}/n']:.0f} |")
    head = "| domain | 0.35 | 0.7 | 1.0 | n each |\n|---|---|---|---|---|"
    return "\n".join(["## Judge: 12-way accuracy by strength", "", head, *rows])


def _recognisers(weights: Path, sets: dict[str, Images]) -> str:
    images, labels = join(list(sets.values()))
    faces = align_all(images, labels)
    rows = []
    for name in _RECOGNISERS:
        values = measure_recogniser(weights / f"recognisers/{name}.onnx", faces, labels)
        for domain in DOMAINS:
            row = [f"{values[f'{domain}/{key}']:.4f}" for key in ("auc", "same", "different")]
            rows.append(f"| {name} | {domain} | {' | '.join(row)} |")
    head = "| recogniser | domain | AUC | cosine, same | cosine, different |\n|---|---|---|---|---|"
    return "\n".join(["## Recognisers", "", head, *rows])


def _clip(measured: dict[str, Any]) -> str:
    values = measured.get("clip", {})
    rows = [
        f"| {name} | {values[f'{name}/linear']:.3f} | {values[f'{name}/nearest']:.3f} "
        f"| {values[f'{name}/n']:.0f} |"
        for name in ("fear-surprised", "angry-disgust", "all")
        if f"{name}/linear" in values
    ]
    head = "| classes | linear probe | nearest neighbour | n |\n|---|---|---|---|"
    return "\n".join(["## Image encoder of the triplet loss", "", head, *rows])


def _stages(measured: dict[str, Any]) -> str:
    rows = [
        f"| {name} | {values['minutes']:.1f} |"
        for name, values in measured.items()
        if "minutes" in values
    ]
    note = "The autoencoder has one core, while judge, recognisers, clip and texts have the other."
    return "\n".join(["## Making", "", note, "", "| stage | minutes |", "|---|---|", *rows])
