"""The visible surface, one sample per covered pixel, with everything that shading asks for."""

from dataclasses import dataclass

import numpy as np

from pixelsmile.faces.human.camera import View
from pixelsmile.faces.human.pack import SKIN, load_pack
from pixelsmile.faces.human.raster import rasterise
from pixelsmile.faces.human.subject import Subject


@dataclass(frozen=True)
class Fragments:
    """Visible samples; P in total, S of them skin. All arrays are float32 but the indices.

    Attributes:
        pixel: (P,), flat pixel index.
        part: (P,), material.
        canonical: (3, P), where the sample lies on the undeformed mesh, dm.
        mouth: (P,), 1 inside the mouth.
        position: (3, P), in front of the camera, dm.
        normal: (3, P), unit; towards the viewer.
        skin: (S,), which samples are skin.
        lips: (S,), mask in [0, 1].
        ears: (S,), mask in [0, 1].
        eyelids: (S,), mask in [0, 1].
        depth: (size, size), distance from the camera, inf on the background.
    """

    pixel: np.ndarray
    part: np.ndarray
    canonical: np.ndarray
    mouth: np.ndarray
    position: np.ndarray
    normal: np.ndarray
    skin: np.ndarray
    lips: np.ndarray
    ears: np.ndarray
    eyelids: np.ndarray
    depth: np.ndarray


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Scale the columns of (3, P) to length 1."""
    x, y, z = vectors
    return vectors / (np.sqrt(x * x + y * y + z * z) + np.float32(1e-9))


def vertex_normals(world: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals, (3, N)."""
    a, b, c = (world[:, corner] for corner in triangles.T)
    (ux, uy, uz), (vx, vy, vz) = b - a, c - a
    faces = (uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx)
    corners, count = triangles.T.ravel(), world.shape[1]
    total = [np.bincount(corners, np.tile(axis, 3), count) for axis in faces]
    return normalised(np.stack(total).astype(np.float32))


def collect(subject: Subject, view: View) -> Fragments:
    """Rasterise the subject and interpolate its attributes."""
    hits = rasterise(view.screen, subject.triangles, view.size, two_sided=subject.two_sided)
    normals = vertex_normals(view.world, subject.triangles)
    a, b, c = np.take(subject.triangles.T, hits.triangle, axis=1)
    wa, wb, wc = hits.weights
    mixed = np.empty((10, len(hits.pixel)), np.float32)
    for mean, attribute in zip(mixed, (*subject.painted, *view.world, *normals), strict=True):
        mean[:] = attribute[a] * wa + attribute[b] * wb + attribute[c] * wc
    normal = normalised(mixed[7:])
    turned = subject.two_sided[hits.triangle] & (normal[2] < 0)
    normal = np.where(turned, -normal, normal)
    part = subject.part[hits.triangle]
    skin = np.flatnonzero(part == SKIN)
    pack = load_pack()
    corner_uv = np.take(pack.corner_uv, hits.triangle[skin], axis=1)
    weights = np.take(hits.weights, skin, axis=1)
    u, v = ((corner_uv[axis::2] * weights).sum(0) for axis in (0, 1))
    lips, ears, eyelids = pack.sample(pack.mask_texels, u, v)
    return Fragments(
        pixel=hits.pixel,
        part=part,
        canonical=mixed[:3],
        mouth=mixed[3],
        position=mixed[4:7],
        normal=normal,
        skin=skin,
        lips=lips,
        ears=ears,
        eyelids=eyelids,
        depth=hits.depth,
    )
