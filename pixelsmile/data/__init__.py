"""Faces on disk, triplets of confusing expressions, and their encoded form."""

from typing import TYPE_CHECKING, Any

from pixelsmile.data.ffe import read_ffe
from pixelsmile.data.samples import Sample

if TYPE_CHECKING:
    from pixelsmile.data.datamodule import TripletDataModule

__all__ = ["Sample", "TripletDataModule", "read_ffe"]


def __getattr__(name: str) -> Any:
    """Load the datamodule when it is asked for: processes that only read do without Lightning."""
    if name == "TripletDataModule":
        from pixelsmile.data.datamodule import TripletDataModule

        return TripletDataModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
