"""Anime faces, drawn in two dimensions."""

from pixelsmile.faces.anime.generator import AnimeFaces

__all__ = ["AnimeFaces"]
