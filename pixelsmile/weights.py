"""Weights that people bring themselves: what they are, where they go, how to get them.

The one table of them. Errors about missing files and `python -m pixelsmile.doctor` read it.
Places are below `paths.weights`.
"""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pixelsmile.errors import UserError


@dataclass(frozen=True)
class Weight:
    """One download.

    Args:
        name: What people call it.
        place: Its file or folder below `paths.weights`.
        source: Where it is published.
        licence: As published; read it before use.
        use: What the project does with it.
        commands: Shell commands, with `{weights}` for `paths.weights`; none where nobody publishes
            any.
    """

    name: str
    place: str
    source: str
    licence: str
    use: str
    commands: tuple[str, ...]

    def command(self, root: str | Path) -> str:
        """Return the shell command that gets it into `root`."""
        return " && ".join(self.commands).format(weights=shlex.quote(str(root)))


_RELEASES = "https://github.com/deepinsight/insightface/releases/download/v0.7"
_FACENET = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9"

_ANTELOPE = (
    "mkdir -p {weights}",
    f"curl -L -o {{weights}}/antelopev2.zip {_RELEASES}/antelopev2.zip",
    "unzip {weights}/antelopev2.zip -d {weights}",
)

WEIGHTS = (
    Weight(
        name="Qwen-Image-Edit-2511",
        place="Qwen-Image-Edit-2511",
        source="https://huggingface.co/Qwen/Qwen-Image-Edit-2511",
        licence="Apache-2.0",
        use="base model: transformer, VAE, text encoder",
        commands=(
            "hf download Qwen/Qwen-Image-Edit-2511 --local-dir {weights}/Qwen-Image-Edit-2511",
        ),
    ),
    Weight(
        name="CLIP ViT-L/14",
        place="clip-vit-l-14/open_clip_model.safetensors",
        source="https://huggingface.co/timm/vit_large_patch14_clip_224.openai",
        licence="see the model card (OpenAI's CLIP is MIT)",
        use="image encoder of the triplet loss, human",
        commands=(
            "hf download timm/vit_large_patch14_clip_224.openai open_clip_model.safetensors "
            "--local-dir {weights}/clip-vit-l-14",
        ),
    ),
    Weight(
        name="DanbooruCLIP",
        place="DanbooruCLIP",
        source="https://huggingface.co/OysterQAQ/DanbooruCLIP",
        licence="see the model card",
        use="image encoder of the triplet loss, anime",
        commands=("hf download OysterQAQ/DanbooruCLIP --local-dir {weights}/DanbooruCLIP",),
    ),
    Weight(
        name="ArcFace (antelopev2)",
        place="antelopev2/glintr100.onnx",
        source=f"{_RELEASES}/antelopev2.zip",
        licence="non-commercial research only",
        use="identity loss, ID Sim",
        commands=_ANTELOPE,
    ),
    Weight(
        name="SCRFD (antelopev2)",
        place="antelopev2/scrfd_10g_bnkps.onnx",
        source=f"{_RELEASES}/antelopev2.zip",
        licence="non-commercial research only",
        use="landmarks of photographs whose annotations have none (optional, else MTCNN)",
        commands=_ANTELOPE,
    ),
    Weight(
        name="AdaFace IR-101 (WebFace12M)",
        place="adaface/adaface_ir101_webface12m.ckpt",
        source="https://github.com/mk-minchul/AdaFace (R100, WebFace12M)",
        licence="code MIT; the training data is for research only",
        use="ID Sim",
        commands=(
            "mkdir -p {weights}/adaface",
            "pip install gdown",
            "gdown 1dswnavflETcnAuplZj1IOKKP0eM8ITgT "
            "-O {weights}/adaface/adaface_ir101_webface12m.ckpt",
        ),
    ),
    Weight(
        name="FaceNet (VGGFace2)",
        place="facenet/20180402-114759-vggface2.pt",
        source=f"{_FACENET}/20180402-114759-vggface2.pt",
        licence="code MIT; the training data is for research only",
        use="ID Sim",
        commands=(
            "mkdir -p {weights}/facenet",
            f"curl -L -o {{weights}}/facenet/20180402-114759-vggface2.pt "
            f"{_FACENET}/20180402-114759-vggface2.pt",
        ),
    ),
    Weight(
        name="judge of validation",
        place="judge",
        source="Nobody publishes one: train your own, see docs/judges.md, or say model.scorer=null "
        "to train without validation",
        licence="your own",
        use="scores of the edits while training",
        commands=(),
    ),
)


def known(path: str | Path) -> tuple[Weight, Path] | None:
    """Return the table's row for a path, and the `paths.weights` that the path implies.

    Example:
        >>> row, root = known("w/antelopev2/glintr100.onnx")
        >>> row.name, root
        ('ArcFace (antelopev2)', PosixPath('w'))
    """
    path = Path(path)
    for weight in WEIGHTS:
        parts = PurePosixPath(weight.place).parts
        # A path inside of a row's folder, such as its text encoder, belongs to the row.
        for place in (path, *path.parents):
            if place.parts[-len(parts) :] == parts:
                return weight, place.parents[len(parts) - 1]
    return None


def how_to_get(path: str | Path) -> str:
    """Return what to do about missing or damaged weights, as the end of a sentence."""
    row = known(path)
    if row is None:
        return "check the paths of the model's configuration, or see `python -m pixelsmile.doctor`."
    weight, root = row
    if not weight.commands:
        return f"this is the place of the {weight.name}. {weight.source}."
    return (
        f"it belongs to {weight.name}, from {weight.source} ({weight.licence}). Get it with: "
        f"{weight.command(root)}"
    )


def need_weights(path: str | Path) -> Path:
    """Return the path of weights that are there.

    Raises:
        UserError: If nothing is there; it names the file, its source and the command to get it.
    """
    path = Path(path)
    empty = path.is_dir() and not any(item.is_file() for item in path.rglob("*"))
    if empty or not path.exists():
        raise UserError(f"No weights at {path}: {how_to_get(path)}")
    return path


@contextmanager
def reading(path: str | Path, what: str) -> Iterator[None]:
    """Turn whatever a library raises at broken weights into one sentence.

    Args:
        path: Of the file or folder.
        what: What it should be.

    Raises:
        UserError: For any exception that is not one already, out of memory and interrupts apart.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        reason = f"{type(error).__name__}: {lines[0]}"[:300]
        raise UserError(
            f"{path} cannot be read as {what} ({reason}). It is damaged or of another kind: "
            f"{how_to_get(path)}"
        ) from error
