"""What a run measures before it trains: the base, and the judge's ceiling on true images.

Both are kept in the run's folder under a key of all that they depend on, so that another start
finds them again, and one with other settings does not.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from pixelsmile.ceiling import measure_ceiling
from pixelsmile.data.cache import content_key
from pixelsmile.data.encoded import EncodedSet
from pixelsmile.data.samples import Sample, by_identity, neutral_of
from pixelsmile.needed import identified
from pixelsmile.ranks import from_first
from pixelsmile.report import write_json
from pixelsmile.scoring import FaceScorer, Measured

BEFORE, CEILING = "before.json", "ceiling.json"

VERSION = 1
"""Raised when edits of the base or their scores change for the same settings."""

_NO_MATTER = ("rank", "alpha", "dropout", "seed", "gradient_checkpointing", "compile")
"""Settings of the backbone that change no number: an untrained adapter adds nothing."""

Numbers = dict[str, Measured]


def measure_start(
    run: Path,
    config: DictConfig,
    val: Sequence[Sample],
    encoded: EncodedSet,
    scorer: FaceScorer,
    validate: Callable[[], Numbers],
) -> tuple[Numbers, Numbers]:
    """Return the numbers of the base and of true images, measured now or by an earlier start.

    Args:
        run: Folder of the run, where they are kept.
        config: Of the run.
        val: Samples of the held-out identities.
        encoded: Where they are prepared.
        scorer: Looks at them.
        validate: Edits them with the untrained adapter and scores the edits.
    """
    ceiling = known(
        run / CEILING,
        from_first(lambda: ceiling_key(config, val, encoded)),
        lambda: measure_ceiling(val, encoded, scorer),
    )
    before = known(run / BEFORE, from_first(lambda: before_key(config, val, encoded)), validate)
    return before, ceiling


def known(path: Path, key: str, measure: Callable[[], Numbers]) -> Numbers:
    """Return what was measured under a key, or measure and keep it.

    All processes measure together, and the first keeps it.
    """
    if from_first(lambda: _read(path, key)) is None:
        numbers = measure()
        from_first(lambda: write_json(path, {"key": key, "numbers": numbers}))
    found = from_first(lambda: _read(path, key))
    assert found is not None
    return found


def _read(path: Path, key: str) -> Numbers | None:
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    same = isinstance(content, dict) and content.get("key") == key
    return content["numbers"] if same else None


def before_key(config: DictConfig, val: Sequence[Sample], encoded: EncodedSet) -> str:
    """Return a hash of what edits by the base and their scores depend on."""
    model = config.model
    sources = [neutral_of(name, group) for name, group in by_identity(val).items()]
    key_makers = (encoded.image_key, encoded.source_key, encoded.prompt_key, encoded.face_key)
    backbone = {
        name: value for name, value in identified(model.backbone).items() if name not in _NO_MATTER
    }
    return content_key(
        VERSION,
        [[make(source) for make in key_makers] for source in sources],
        backbone,
        [identified(model[part]) for part in ("autoencoder", "noise_levels", "scorer")],
        [model.num_steps, OmegaConf.to_container(model.strengths), config.seed],
        config.trainer.precision,
    )


def ceiling_key(config: DictConfig, val: Sequence[Sample], encoded: EncodedSet) -> str:
    """Return a hash of what the scores of true images depend on, which no editing is."""
    groups = by_identity(val)
    return content_key(
        VERSION,
        [(s.identity, s.category, s.scores, encoded.image_key(s)) for s in val],
        [encoded.face_key(neutral_of(name, group)) for name, group in groups.items()],
        identified(config.model.scorer),
    )
