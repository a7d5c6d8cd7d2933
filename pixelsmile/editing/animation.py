"""Sweeps that move: GIF by Pillow, MP4 by PyAV."""

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.video.stream import VideoStream
from PIL import Image

from pixelsmile.editing.facts import Facts
from pixelsmile.files import whole_file


def there_and_back(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """Return frames that run to the last and back again, so that a loop does not jump.

    Example:
        >>> there_and_back("abc")
        ['a', 'b', 'c', 'b']
    """
    return [*frames, *frames[-2:0:-1]]


def shrink(image: Image.Image, edge: int, *, even: bool = False) -> Image.Image:
    """Return an opaque picture whose longer side has at most `edge` pixels.

    Args:
        image: RGB or RGBA; white stands behind what is clear.
        edge: In pixels.
        even: Give both sides an even number of pixels, as video coding needs.
    """
    scale = min(1.0, edge / max(image.size))
    step = 2 if even else 1
    size = [max(step, round(length * scale) // step * step) for length in image.size]
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    image = image.convert("RGB")
    if tuple(size) == image.size:
        return image
    return image.resize((size[0], size[1]), Image.Resampling.LANCZOS)


def write_gif(frames: Sequence[Image.Image], path: str | Path, fps: float, facts: Facts) -> None:
    """Write an endless GIF, whole or not at all; its comment holds the facts as JSON.

    Args:
        frames: RGB, of one size.
        path: Of the file.
        fps: Frames a second, at most 50: the format counts in hundredths.
        facts: As of `write_png`.
    """
    # One palette for all frames, or still parts of the picture would flicker.
    sample = frames[:: max(1, len(frames) // 8)]
    wall = Image.new("RGB", (frames[0].width, frames[0].height * len(sample)))
    for row, frame in enumerate(sample):
        wall.paste(frame, (0, row * frame.height))
    palette = wall.quantize(256, dither=Image.Dither.NONE)
    shots = [frame.quantize(palette=palette) for frame in frames]
    with whole_file(path) as file:
        shots[0].save(
            file,
            "GIF",
            save_all=True,
            append_images=shots[1:],
            duration=round(100 / fps) * 10,
            loop=0,
            optimize=False,
            comment=_text(facts),
        )


def write_mp4(frames: Sequence[Image.Image], path: str | Path, fps: float, facts: Facts) -> None:
    """Write an H.264 video that browsers and phones play, whole or not at all.

    Args:
        frames: RGB, of one size with even sides.
        path: Of the file.
        fps: Frames a second.
        facts: As of `write_png`, kept as the comment.
    """
    rate = Fraction(fps).limit_denominator(1000)
    with (
        whole_file(path) as file,
        av.open(file, "w", format="mp4", options={"movflags": "+faststart"}) as container,
    ):
        container.metadata["comment"] = _text(facts)
        # The same frames give the same bytes: on one thread, and without the assembly code, which
        # reads what happens to lie beyond the edge of a picture.
        repeatable = {"threads": "1", "x264-params": "asm=0"}
        stream = container.add_stream(
            "libx264", rate=rate, options={"crf": "17", "preset": "medium", **repeatable}
        )
        stream = cast(VideoStream, stream)
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())


def _text(facts: Facts) -> str:
    return json.dumps(facts, sort_keys=True)  # plain ASCII, which both formats can hold
