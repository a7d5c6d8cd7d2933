"""Pictures of one image over expressions and strengths."""

from dataclasses import dataclass

from PIL import Image

from pixelsmile.pictures import label_grid


@dataclass(frozen=True)
class Sweep:
    """One image in K expressions at S strengths.

    Attributes:
        source: The image as the editor saw it.
        images: K rows of S pictures.
        expressions: K names.
        strengths: S numbers, the same in every row.
    """

    source: Image.Image
    images: list[list[Image.Image]]
    expressions: tuple[str, ...]
    strengths: tuple[float, ...]

    def grid(self) -> Image.Image:
        """Return one labelled picture: a row an expression, the source and a column a strength."""
        rows = [[self.source, *row] for row in self.images]
        titles = ["source", *(f"{strength:g}" for strength in self.strengths)]
        return label_grid(rows, self.expressions, titles)
