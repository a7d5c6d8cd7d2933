"""Load the head pack: mesh, texture masks and sparse shape targets.

Lengths are decimetres. x points to the subject's left (the right of the image), y up, z out of the
face. Positions on the undeformed mesh are called canonical: skin is painted there.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

SKIN, EYE, TONGUE, UPPER_TEETH, LOWER_TEETH, LOWER_LASHES, LASHES, HAIR = range(8)
"""What a triangle is made of. The pack's eyeballs and hair shell are replaced by our own."""

TARGET_UNIT = 1e-4
MASKS = ("lips", "ears", "eyelids")
ARM_REACH = 1.9


@dataclass(frozen=True)
class HeadPack:
    """The head mesh with everything that can be done to it.

    Attributes:
        vertices: (N, 3), canonical, float32.
        triangles: (M, 3), vertex indices.
        part: (M,), material of each triangle.
        corner_uv: (6, M), u and v of the three corners.
        eye_vertices: Vertex indices of the left and of the right eyeball.
        targets: Name to (vertex indices, offsets in dm). Names start with `race:`, `universal:`,
            `local:` or `action:`.
        mask_texels: (3, height * width), in [0, 1], in the order of `MASKS`.
        face_texels: (1, height * width), the face mask.
        mask_shape: Height and width of the masks.
        uv_box: u0, v0, u1, v1 of the masks.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    part: np.ndarray
    corner_uv: np.ndarray
    eye_vertices: tuple[np.ndarray, np.ndarray]
    targets: dict[str, tuple[np.ndarray, np.ndarray]]
    mask_texels: np.ndarray
    face_texels: np.ndarray
    mask_shape: tuple[int, int]
    uv_box: np.ndarray

    @property
    def actions(self) -> tuple[str, ...]:
        """Names of the 52 facial actions; Left and Right are the subject's own."""
        return tuple(name[7:] for name in self.targets if name.startswith("action:"))

    def add_target(self, vertices: np.ndarray, name: str, weight: float) -> None:
        """Add `weight` times a target to `vertices` in place; the pack lacks a few neutral ones."""
        if name in self.targets and abs(weight) > 1e-6:
            indices, offsets = self.targets[name]
            vertices[indices] += np.float32(weight) * offsets

    def sample(self, texels: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Read masks between texels, 0 outside; u and v are (P,), the result (channels, P)."""
        height, width = self.mask_shape
        u0, v0, u1, v1 = self.uv_box.astype(np.float32)
        x = (u - u0) * np.float32(width / (u1 - u0)) - np.float32(0.5)
        y = (v1 - v) * np.float32(height / (v1 - v0)) - np.float32(0.5)
        inside = (x >= 0) & (x < width - 1) & (y >= 0) & (y < height - 1)
        x, y = np.where(inside, x, 0), np.where(inside, y, 0)
        column, row = x.astype(np.int32), y.astype(np.int32)
        x, y, first = (
            x - column.astype(np.float32),
            y - row.astype(np.float32),
            row * width + column,
        )
        result = np.empty((len(texels), len(u)), np.float32)
        for channel, mask in zip(result, texels, strict=True):
            upper = mask[first] * (1 - x) + mask[first + 1] * x
            lower = mask[first + width] * (1 - x) + mask[first + width + 1] * x
            channel[:] = (upper * (1 - y) + lower * y) * inside
        return result


@lru_cache(maxsize=1)
def load_pack() -> HeadPack:
    """Read the pack that lies beside this module."""
    with np.load(Path(__file__).with_name("headpack.npz")) as archive:
        data = {key: archive[key] for key in archive.files}
    vertices = data["V"].astype(np.float32)
    quads, quad_uv = data["F"].astype(np.intp), data["FT"].astype(np.intp)
    arms = (data["part"] == SKIN) & (np.abs(vertices[quads][..., 0]).max(1) > ARM_REACH)
    kept = ~arms & (data["part"] != HAIR) & (data["part"] != LOWER_LASHES)
    quads, quad_uv, part = quads[kept], quad_uv[kept], data["part"][kept]
    halves = ([0, 1, 2], [0, 2, 3])
    corners = np.concatenate([quad_uv[:, half] for half in halves])
    masks = [data[f"mask_{name}"].astype(np.float32).ravel() / 255 for name in (*MASKS, "face")]
    return HeadPack(
        vertices=vertices,
        triangles=np.concatenate([quads[:, half] for half in halves]),
        part=np.tile(part, 2),
        corner_uv=data["T"].astype(np.float32)[corners].reshape(-1, 6).T.copy(),
        eye_vertices=(data["eyeL"].astype(np.intp), data["eyeR"].astype(np.intp)),
        targets=_read_targets(data),
        mask_texels=np.stack(masks[:3]),
        face_texels=masks[3][None],
        mask_shape=data["mask_lips"].shape,
        uv_box=data["uv_box"],
    )


def _read_targets(data: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    indices = data["idx"].astype(np.intp)
    offsets = data["val"].astype(np.float32) * np.float32(TARGET_UNIT)
    bounds = data["ptr"].tolist()
    spans = pairwise(bounds)
    return {
        str(name): (indices[start:stop], offsets[start:stop])
        for name, (start, stop) in zip(data["names"], spans, strict=True)
    }
