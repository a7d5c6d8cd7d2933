"""Models that cost nothing: the editor paints its weights, the scorer reads them back."""

import io
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.models.detectors import BoxTemplate, Located
from pixelsmile.studio.engine import Engine
from pixelsmile.studio.handlers import Example, Handlers

SIZE = 64
POINTS = ((20.0, 24.0), (44.0, 24.0), (32.0, 36.0), (22.0, 46.0), (42.0, 46.0))


class StandInEditor:
    """Paints one bar a weight along the bottom: 12 columns, as bright as the weight."""

    image_size = SIZE

    def __init__(self, domain="human"):
        self.domain = domain
        self.identity = f"stand-in-{domain}"
        self.encoded = 0
        self.rendered = []

    def encode(self, image, size=None):
        self.encoded += 1
        height, width = size or (SIZE, SIZE)
        pixels = np.asarray(image.convert("RGB").resize((width, height))).copy()
        pixels = torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1
        return SimpleNamespace(image=pixels)

    def render(self, source, weights, *, seed=0, speed="exact", progress=None):
        self.rendered.append((weights.clone(), seed, speed))
        pixels = source.image.repeat(len(weights), 1, 1, 1)
        columns = torch.arange(pixels.shape[-1]) * len(EXPRESSIONS) // pixels.shape[-1]
        pixels[:, :, -8:, :] = (weights[:, columns] - 1)[:, None, None, :]
        if progress is not None:
            progress(len(weights))
        return pixels


class StandInScorer:
    """Reads the bars; two recognisers see the mean colour of the upper half."""

    def expressions(self, images):
        columns = torch.arange(images.shape[-1]) * len(EXPRESSIONS) // images.shape[-1]
        bars = images[:, 0, -4, :] + 1
        scores = torch.zeros(len(images), len(EXPRESSIONS)).index_add_(1, columns, bars)
        return (scores / columns.bincount()).clamp(0, 1)

    def identities(self, images, landmarks):
        assert landmarks.shape == (len(images), 5, 2)
        colour = images[:, :, : images.shape[-2] // 2].mean((2, 3))
        return torch.stack([colour, colour.flip(1)])


class StandInDetector:
    """Finds the same face in every picture that is wide enough, and none in others."""

    def locate(self, image, box=None):
        return None if min(image.size) < SIZE else Located(POINTS, (12, 12, 52, 56))


def face_image(colour="peru", size=(SIZE, SIZE)):
    """Return a picture that is told from others by its colour."""
    return Image.new("RGB", size, colour)


def file_of(image, kind="PNG", **options):
    """Return the bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def read(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def make_engine(**options):
    """Return an engine and the list of editors that it makes."""
    made = []

    def make(domain):
        made.append(StandInEditor(domain))
        return made[-1]

    detectors = {"human": StandInDetector(), "anime": BoxTemplate()}
    options = {"facts": {"base": "stand-in", "lora": {"human": "a/lora"}}} | options
    return Engine(make, StandInScorer(), detectors, **options), made


def make_handlers(**options):
    """Return handlers over stand-ins with an example of each domain."""
    engine, _ = make_engine()
    examples = [
        Example("human example 1", "human", face_image("peru"), POINTS),
        Example("anime example 1", "anime", face_image("orchid"), POINTS),
    ]
    return Handlers(engine, examples, read, **options)
