"""Human faces: parametric 3-D heads with facial actions (see CREDITS.md for the data)."""

from pixelsmile.faces.human.generator import HumanFaces

__all__ = ["HumanFaces"]
