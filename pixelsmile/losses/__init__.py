"""Losses of the symmetric joint training; tensors in, tensors out.

`SymmetricTripletLoss` takes one of the terms `hinge`, `log_ratio`, `info_nce`; which one is a
choice of the config, see `configs/loss`.
"""

from pixelsmile.losses.identity import IdentityLoss
from pixelsmile.losses.triplet import SymmetricTripletLoss, hinge, info_nce, log_ratio

__all__ = ["IdentityLoss", "SymmetricTripletLoss", "hinge", "info_nce", "log_ratio"]
