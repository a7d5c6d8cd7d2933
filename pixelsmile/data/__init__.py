"""Faces on disk, triplets of confusing expressions, and their encoded form."""

from pixelsmile.data.datamodule import TripletDataModule
from pixelsmile.data.ffe import read_ffe
from pixelsmile.data.samples import Sample

__all__ = ["Sample", "TripletDataModule", "read_ffe"]
