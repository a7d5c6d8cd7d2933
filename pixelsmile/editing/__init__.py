"""Edit images: read one, steer its prompt, denoise, and hand pictures back."""

from pixelsmile.editing.editor import ExpressionEditor
from pixelsmile.editing.source import Source
from pixelsmile.editing.sweep import Sweep

__all__ = ["ExpressionEditor", "Source", "Sweep"]
