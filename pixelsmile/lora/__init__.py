"""LoRA files: read any dialect whole, write the common ones, tell what a stock loader would do."""

from pixelsmile.lora.adapter import Adapter, Layer
from pixelsmile.lora.files import WEIGHT_NAME, read_adapter, write_adapter

__all__ = ["WEIGHT_NAME", "Adapter", "Layer", "read_adapter", "write_adapter"]
