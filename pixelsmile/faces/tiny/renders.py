"""Large labelled sets of rendered faces, made once, in parallel, and kept on disk.

A set is `<path>.npy`, uint8 images (N, size, size, 3), opened as a memory map, beside `<path>.npz`,
its labels. N runs over identities and, within one, over the images its plan asks for.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import Self

import numpy as np

from pixelsmile.expressions import DOMAINS, EXPRESSIONS, index
from pixelsmile.faces.base import FaceGenerator, Mix
from pixelsmile.files import whole_file

Plan = Callable[[int], Sequence[Mix]]
"""Seed to the mixes to draw of that identity; a plain function, so that workers can import it."""

SIZE = 128

_CHUNK = 20  # identities a job: small enough to lose little when interrupted
_MIXED_SHARE = 0.15

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labels:
    """What is known of N rendered images; every field has N rows.

    Attributes:
        domain: (N,), index into `DOMAINS`.
        identity: (N,), 0, 1, ... in the order of the seeds.
        seed: (N,), of the identity.
        category: (N,), index of the strongest expression of the mix, -1 for neutral.
        strength: (N,), of that expression.
        mixed: (N,), bool, whether there is a second expression.
        scores: (N, 12), in [0, 1].
        landmarks: (N, 5, 2), in pixels.
        box: (N, 4), in pixels.
    """

    domain: np.ndarray
    identity: np.ndarray
    seed: np.ndarray
    category: np.ndarray
    strength: np.ndarray
    mixed: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray
    box: np.ndarray

    def __len__(self) -> int:
        """Return N."""
        return len(self.identity)

    def take(self, rows: np.ndarray) -> Self:
        """Return some rows, by index or by mask."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def base_plan(seed: int) -> list[Mix]:
    """Neutral and seven expressions, half of them at full strength, the others from 0.25 up."""
    return [{}, *({word: strength} for word, strength in _draw(seed, 7))]


def judge_plan(seed: int) -> list[Mix]:
    """Neutral and nine expressions, as in `base_plan`; some 15 % carry a second expression."""
    generator = np.random.default_rng((seed, 1))
    mixes: list[Mix] = [{}]
    for word, strength in _draw(seed, 9):
        mix = {word: strength}
        if generator.random() < _MIXED_SHARE:
            others = [name for name in EXPRESSIONS if name != word]
            mix[str(generator.choice(others))] = float(generator.uniform(0.25, 1.0))
        mixes.append(mix)
    return mixes


def render_set(
    generator: FaceGenerator, seeds: Sequence[int], plan: Plan, path: Path, *, workers: int = 2
) -> tuple[np.ndarray, Labels]:
    """Render a set, or open it if exactly this one is on disk already.

    Finished chunks survive an interruption and are not drawn again. A set counts as the same one if
    seeds and mixes agree and the generator still draws the same bytes for a probe.

    Args:
        generator: Must be importable and picklable if there is more than one worker.
        seeds: One identity each.
        plan: `base_plan`, `judge_plan` or your own.
        path: Without extension; `.npy` and `.npz` are added.
        workers: Processes; 1 renders in this one.

    Returns:
        The images, (N, 128, 128, 3), uint8, read-only memory map, and their labels.
    """
    fingerprint = _fingerprint(generator, seeds, plan)
    images_file, labels_file = path.with_suffix(".npy"), path.with_suffix(".npz")
    if not (images_file.exists() and _is_current(labels_file, fingerprint)):
        parts = path.with_name(f"{path.name}.{fingerprint[:12]}.parts")
        parts.mkdir(parents=True, exist_ok=True)
        chunks = _chunks(seeds, parts)
        missing = {part: chunk for part, chunk in chunks.items() if not part.exists()}
        _render_chunks(generator, plan, missing, len(chunks), workers)
        _merge(list(chunks), images_file, labels_file, fingerprint)
        shutil.rmtree(parts)
    return np.load(images_file, mmap_mode="r"), load_labels(labels_file)


def load_labels(file: Path) -> Labels:
    """Read the labels of a set."""
    with np.load(file) as arrays:
        return Labels(**{field.name: arrays[field.name] for field in fields(Labels)})


def join(sets: Sequence[tuple[np.ndarray, Labels]]) -> tuple[np.ndarray, Labels]:
    """Put several sets into one, in memory; identities of different sets stay different."""
    start = np.cumsum([0, *(labels.identity.max() + 1 for _, labels in sets)])
    columns = {
        field.name: np.concatenate([getattr(labels, field.name) for _, labels in sets])
        for field in fields(Labels)
    }
    offsets = np.repeat(start[:-1], [len(labels) for _, labels in sets])
    columns["identity"] = columns["identity"] + offsets
    return np.concatenate([images for images, _ in sets]), Labels(**columns)


def split_identities(labels: Labels, share: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Return row numbers to train on and to measure on; the two have no identity in common.

    The last `share` of the identities of every domain is held out, at least one.
    """
    held_out = np.zeros(len(labels), dtype=bool)
    for domain in np.unique(labels.domain):
        rows = labels.domain == domain
        identities = np.unique(labels.identity[rows])
        last = identities[-max(1, round(share * len(identities))) :]
        held_out |= rows & np.isin(labels.identity, last)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _draw(seed: int, count: int) -> Iterator[tuple[str, float]]:
    """Choose expressions and strengths; in each dozen of seeds every expression is as frequent."""
    dozen = len(EXPRESSIONS)
    order = np.random.default_rng((seed // dozen, 2)).permutation(dozen)
    generator = np.random.default_rng((seed, 0))
    for position in range(count):
        full = generator.random() < 0.5
        strength = 1.0 if full else float(generator.uniform(0.25, 1.0))
        yield EXPRESSIONS[order[(seed + position) % dozen]], strength


def _fingerprint(generator: FaceGenerator, seeds: Sequence[int], plan: Plan) -> str:
    mixes = [[int(seed), [dict(mix) for mix in plan(seed)]] for seed in seeds]
    digest = hashlib.sha256(json.dumps([generator.domain, mixes]).encode())
    for mix in plan(seeds[0])[:2]:
        digest.update(generator.render(seeds[0], mix, size=SIZE).image.tobytes())
    return digest.hexdigest()


def _is_current(labels_file: Path, fingerprint: str) -> bool:
    if not labels_file.exists():
        return False
    with np.load(labels_file) as arrays:
        return str(arrays["fingerprint"]) == fingerprint


def _chunks(seeds: Sequence[int], parts: Path) -> dict[Path, list[tuple[int, int]]]:
    numbered = [(identity, int(seed)) for identity, seed in enumerate(seeds)]
    starts = range(0, len(numbered), _CHUNK)
    return {parts / f"{start:06d}.npz": numbered[start : start + _CHUNK] for start in starts}


def _render_chunks(
    generator: FaceGenerator,
    plan: Plan,
    missing: dict[Path, list[tuple[int, int]]],
    total: int,
    workers: int,
) -> None:
    done = total - len(missing)
    jobs = [(generator, plan, chunk, part) for part, chunk in missing.items()]
    if workers <= 1:
        for job in jobs:
            _render_chunk(*job)
            done += 1
            _log.info("%s: %d of %d chunks", generator.domain, done, total)
        return
    # spawn: a fork of a process whose torch threads are up may hang
    with (
        _one_thread_each(),
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
    ):
        for future in as_completed([pool.submit(_render_chunk, *job) for job in jobs]):
            future.result()
            done += 1
            _log.info("%s: %d of %d chunks", generator.domain, done, total)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let the processes that start here use one thread each: they share the cores already."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _render_chunk(
    generator: FaceGenerator, plan: Plan, chunk: list[tuple[int, int]], part: Path
) -> None:
    images, rows = [], []
    for identity, seed in chunk:
        for mix in plan(seed):
            face = generator.render(seed, mix, size=SIZE)
            strongest = max(mix, key=lambda name: mix[name], default=None)
            images.append(face.image)
            rows.append(
                (
                    np.int64(DOMAINS.index(generator.domain)),
                    np.int64(identity),
                    np.int64(seed),
                    np.int64(-1 if strongest is None else index(strongest)),
                    np.float32(0.0 if strongest is None else mix[strongest]),
                    np.bool_(len(mix) > 1),
                    np.asarray(face.scores, np.float32),
                    np.asarray(face.landmarks, np.float32),
                    np.asarray(face.box, np.float32),
                )
            )
    columns = {
        field.name: np.stack(column)
        for field, column in zip(fields(Labels), zip(*rows, strict=True), strict=True)
    }
    with whole_file(part) as stream:
        np.savez(stream, allow_pickle=False, images=np.stack(images), **columns)


def _merge(parts: list[Path], images_file: Path, labels_file: Path, fingerprint: str) -> None:
    images, columns = [], {field.name: [] for field in fields(Labels)}
    for part in parts:
        with np.load(part) as arrays:
            images.append(arrays["images"])
            for name, column in columns.items():
                column.append(arrays[name])
    labels_file.unlink(missing_ok=True)  # images of one set must never meet labels of another
    with whole_file(images_file) as stream:
        np.save(stream, np.concatenate(images))
    joined = {name: np.concatenate(column) for name, column in columns.items()}
    with whole_file(labels_file) as stream:
        np.savez(stream, allow_pickle=False, fingerprint=np.asarray(fingerprint), **joined)
