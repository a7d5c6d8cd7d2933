"""Who scores expressions."""

from pixelsmile.judges.local import LocalJudge as LocalJudge
