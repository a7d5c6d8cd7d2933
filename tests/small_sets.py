"""Small sets of face-like pictures in every layout, for tests that need no models."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SHOWN = ("neutral", "fear", "surprised")
BOX = [16, 12, 48, 52]
POINTS = [[24, 26], [40, 26], [32, 34], [26, 42], [38, 42]]


def picture(seed: int, mouth: int = 0, *, size: int = 64, shift: int = 0) -> Image.Image:
    """Draw a face of one person's colours before a background of noise."""
    numbers = np.random.default_rng(seed)
    noise = numbers.integers(0, 120, (size // 4, size // 4, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    skin, ink = (tuple(int(v) for v in numbers.integers(low, low + 80, 3)) for low in (150, 0))
    unit = size / 64
    draw.ellipse([v * unit for v in BOX], fill=skin, outline=ink)
    for x in (22, 36):
        draw.rectangle([v * unit for v in (x, 24, x + 6, 29)], fill=ink)
    draw.ellipse([v * unit for v in (26, 40 - mouth, 38, 43 + mouth)], fill=ink)
    return Image.fromarray(np.roll(np.asarray(image), shift, axis=1))


def row(person: int, category: str, *, strength: float = 1.0, **changes) -> dict:
    """Return the annotation line of one image."""
    scores = {} if category == "neutral" else {category: strength}
    return {
        "image": f"images/p{person}-{category}.png",
        "identity": f"p{person}",
        "domain": "human",
        "category": category,
        "scores": scores,
        "box": BOX,
        "landmarks": POINTS,
    } | changes


def write_lines(path: Path, rows) -> Path:
    """Write rows, or lines as they are, as JSONL."""
    lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_ffe(folder: Path, people: range, *, shown=SHOWN, **changes) -> list[dict]:
    """Write images and annotations of some people; return the rows."""
    rows = [row(person, category, **changes) for person in people for category in shown]
    for one, (person, mouth) in zip(
        rows, [(p, m) for p in people for m in range(len(shown))], strict=True
    ):
        path = folder / one["image"]
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(person, mouth).save(path)
    write_lines(folder / "annotations.jsonl", rows)
    return rows


def write_video(path: Path, colours, *, size: int = 64, audio: bool = False) -> Path:
    """Write an MPEG-4 video, one plain frame a colour; or a tone without any picture."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        if audio:
            stream = container.add_stream("aac", rate=44100)
            frame = av.AudioFrame.from_ndarray(
                np.zeros((2, 1024), dtype=np.float32), format="fltp", layout="stereo"
            )
            frame.sample_rate = 44100
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
            return path
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for colour in colours:
            pixels = np.full((size, size, 3), colour, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path
