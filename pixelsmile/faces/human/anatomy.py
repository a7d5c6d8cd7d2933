"""Find the regions of the canonical head that need special care."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pixelsmile.faces.human.fields import smooth_step
from pixelsmile.faces.human.pack import (
    LASHES,
    LOWER_TEETH,
    SKIN,
    UPPER_TEETH,
    HeadPack,
    load_pack,
)

# The hairline seen from the side: height (dm) at which hair begins, by depth (dm).
HAIRLINE_DEPTH = (-0.8, -0.2, 0.15, 0.3, 0.45, 0.62, 0.72, 0.86, 1.0, 1.15, 1.3, 1.6)
HAIRLINE_HEIGHT = (6.45, 6.62, 6.95, 7.2, 7.22, 7.24, 7.5, 7.78, 7.95, 8.02, 8.06, 8.1)


@dataclass(frozen=True)
class Anatomy:
    """Regions as boolean masks (N,), vertex indices or weights (N,) of the pack's vertices.

    Attributes:
        body: Vertices of the skin.
        mouth: 1 inside the mouth, 0 elsewhere, float32.
        ear: Ear mask at the vertices.
        scalp: Height above the hairline, dm.
        head: (N, 1), how far a vertex follows the head when it turns; 0 at the shoulders.
        lids: Skin round the eyes that may not sink into the eyeballs.
        lashes: Vertices of the upper lashes.
        lash_roots: For each of them the skin vertex it grows from.
        teeth: Vertices of both rows.
        face: Vertices that the face box encloses.
        marks: Nose tip, mouth corner at the image's left, mouth corner at its right.
        chin: Candidates for the lowest point of the face.
    """

    body: np.ndarray
    mouth: np.ndarray
    ear: np.ndarray
    scalp: np.ndarray
    head: np.ndarray
    lids: np.ndarray
    lashes: np.ndarray
    lash_roots: np.ndarray
    teeth: np.ndarray
    face: np.ndarray
    marks: np.ndarray
    chin: np.ndarray


def above_hairline(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Height of canonical points above the hairline in dm; hair grows where it is positive."""
    return y - np.interp(z, HAIRLINE_DEPTH, HAIRLINE_HEIGHT).astype(np.float32)


@lru_cache(maxsize=1)
def find_anatomy() -> Anatomy:
    """Derive all regions from the pack, once per process."""
    pack = load_pack()
    x, y, z = pack.vertices.T
    width = np.abs(x)
    body = np.zeros(len(x), bool)
    body[pack.triangles[pack.part == SKIN]] = True
    lips, ear, face = _masks_at_vertices(pack)
    lashes = np.unique(pack.triangles[pack.part == LASHES])
    rims = body & (width < 0.62) & (y > 7.1) & (y < 7.5) & (z > 1.25)
    tip = np.flatnonzero(body & (width < 0.02) & (y > 6.8) & (y < 7.05) & (z > 1.6))
    lip = np.flatnonzero(lips > 0.5)
    return Anatomy(
        body=body,
        mouth=_mouth_cavity(pack, body, lips).astype(np.float32),
        ear=ear,
        scalp=above_hairline(y, z),
        head=smooth_step(5.7, 6.5, y + 0.35 * (z - 0.2)).astype(np.float32)[:, None],
        lids=body & (width < 0.62) & (y > 7.0) & (y < 7.55) & (z > 1.1),
        lashes=lashes,
        lash_roots=_nearest(pack.vertices, lashes, np.flatnonzero(rims)),
        teeth=np.unique(pack.triangles[(pack.part == UPPER_TEETH) | (pack.part == LOWER_TEETH)]),
        face=np.flatnonzero(face > 0.5),
        marks=np.array([tip[z[tip].argmax()], lip[x[lip].argmin()], lip[x[lip].argmax()]]),
        chin=body & (width < 0.1) & (z > 1.2) & (y > 6),
    )


def _nearest(vertices: np.ndarray, queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    gaps = vertices[queries][:, None] - vertices[candidates][None]
    return candidates[(gaps**2).sum(-1).argmin(1)]


def _masks_at_vertices(pack: HeadPack) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lips, ears and face masks at the vertices: the largest over the corners that meet there."""
    skin = pack.part == SKIN
    corners = pack.triangles[skin].ravel()
    u, v = pack.corner_uv[:, skin].T.reshape(-1, 2).T
    lips, ears, _ = pack.sample(pack.mask_texels, u, v)
    (face,) = pack.sample(pack.face_texels, u, v)
    result = []
    for values in (lips, ears, face):
        largest = np.zeros(len(pack.vertices), np.float32)
        np.maximum.at(largest, corners, values)
        result.append(largest)
    return result[0], result[1], result[2]


def _mouth_cavity(pack: HeadPack, body: np.ndarray, lips: np.ndarray) -> np.ndarray:
    """Flood the mouth from the throat outwards; the lips stop it."""
    x, y, z = pack.vertices.T
    inside = body & (np.abs(x) < 0.25) & (z < 0.75) & (z > 0.45) & (y > 6.45) & (y < 6.8)
    triangles = pack.triangles[pack.part == SKIN]
    edges = np.concatenate([triangles[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
    edges = np.concatenate([edges, edges[:, ::-1]])
    open_to_flood = (lips < 0.5) & (z < 1.56)
    for _ in range(40):
        reached = np.zeros_like(inside)
        reached[edges[inside[edges[:, 0]], 1]] = True
        grown = inside | (reached & open_to_flood)
        if (grown == inside).all():
            break
        inside = grown
    return inside
