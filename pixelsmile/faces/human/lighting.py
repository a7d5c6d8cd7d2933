"""Light a portrait: key with shadows, fill, rim and ambient light; highlights and sweat.

Colours are linear light, (3, P). Directions point from the surface to the light.
"""

from dataclasses import dataclass

import numpy as np

from pixelsmile.faces.human.camera import View
from pixelsmile.faces.human.fields import bell, linear, smooth_step
from pixelsmile.faces.human.fragments import Fragments, normalised
from pixelsmile.faces.human.identity import Person
from pixelsmile.faces.human.materials import Surface
from pixelsmile.faces.human.occlusion import ambient_occlusion, key_shadow
from pixelsmile.faces.human.pack import LOWER_TEETH, SKIN, TONGUE, UPPER_TEETH
from pixelsmile.faces.human.subject import Subject

VIEW = np.array([0, 0, 1], np.float32)
EXPOSURE = 1 / 1.9
KEY_POWER, FILL_POWER, RIM_POWER = 1.88, 0.55, 0.25
# Light wraps round skin, red the most, because it travels under the surface.
SKIN_WRAP = (0.30, 0.14, 0.10)
OTHER_WRAP = (0.12, 0.12, 0.12)
SHADOW_GAMMA = (0.75, 1.0, 1.05)
OCCLUSION_GAMMA = (0.75, 1.05, 1.1)
AMBIENT_TINT = (1.0, 1.0, 1.04)
OCCLUSION_STEPS = 1023


@dataclass(frozen=True)
class Rig:
    """Directions, (3,), and colours, (3,), of a portrait's lights."""

    key: np.ndarray
    fill: np.ndarray
    rim: np.ndarray
    key_colour: np.ndarray
    fill_colour: np.ndarray


def set_up_lights(person: Person) -> Rig:
    """Place the lights: the fill opposite to the key, the rim behind."""
    x, y = person.key_light
    directions = ((x, y, 1.0), (-x * 1.3, 0.15, 0.8), (-np.sign(x) * 0.9, 0.55, -0.75))
    key, fill, rim = (_unit(direction) for direction in directions)
    warm = np.array([1, 0, -1], np.float32) * np.float32(person.warmth)
    return Rig(key, fill, rim, (1 + warm) * KEY_POWER, (1 - warm) * FILL_POWER)


def _unit(direction: object) -> np.ndarray:
    vector = np.asarray(direction, np.float32)
    return vector / np.linalg.norm(vector)


def illuminate(subject: Subject, view: View, seen: Fragments, surface: Surface) -> np.ndarray:
    """Linear colour of every sample, (3, P)."""
    rig = set_up_lights(subject.person)
    shadow = key_shadow(subject, view, seen, surface.normal, rig.key)
    occlusion = ambient_occlusion(view, seen)
    colour = _diffuse(rig, seen, surface, shadow, occlusion)
    _highlights(colour, rig, seen, surface, shadow, occlusion)
    if subject.person.hair != "afro":
        _hair_sheen(colour, subject.person, rig, surface, shadow)
    _eye_glints(colour, rig, surface, shadow)
    return colour


def _diffuse(
    rig: Rig, seen: Fragments, surface: Surface, shadow: np.ndarray, occlusion: np.ndarray
) -> np.ndarray:
    facing_key = rig.key @ surface.normal
    facing_fill = np.clip((rig.fill @ surface.normal + np.float32(0.2)) / 1.2, 0, 1)
    facing_rim = np.clip(rig.rim @ surface.normal, 0, 1) * occlusion * RIM_POWER
    ambient = 0.22 + 0.16 * surface.normal[1]
    teeth = (seen.part == UPPER_TEETH) | (seen.part == LOWER_TEETH)
    skin = seen.part == SKIN
    step = (occlusion * OCCLUSION_STEPS + np.float32(0.5)).astype(np.int32)
    steps = np.linspace(0, 1, OCCLUSION_STEPS + 1, dtype=np.float32)
    colour = np.empty_like(surface.albedo)
    for channel in range(3):
        wrap = np.where(skin, np.float32(SKIN_WRAP[channel]), np.float32(OTHER_WRAP[channel]))
        open_sky = (steps ** np.float32(OCCLUSION_GAMMA[channel]))[step]
        lit = shadow if channel == 1 else shadow ** np.float32(SHADOW_GAMMA[channel])
        light = np.clip((facing_key + wrap) / (1 + wrap), 0, 1) * lit * rig.key_colour[channel]
        soft = facing_fill * rig.fill_colour[channel] + ambient * AMBIENT_TINT[channel]
        light += soft * open_sky + facing_rim
        # Occlusion would hide the teeth of an open mouth.
        light = np.where(teeth, 0.55 * light + 0.45, light * (0.45 + 0.55 * open_sky))
        colour[channel] = surface.albedo[channel] * light * np.float32(EXPOSURE)
    return colour


def _highlights(
    colour: np.ndarray,
    rig: Rig,
    seen: Fragments,
    surface: Surface,
    shadow: np.ndarray,
    occlusion: np.ndarray,
) -> None:
    """Add key and fill highlights on skin, tongue and teeth, in place."""
    shiny = np.flatnonzero(np.isin(seen.part, (SKIN, TONGUE, UPPER_TEETH, LOWER_TEETH)))
    normal, sharpness = np.take(surface.normal, shiny, axis=1), surface.sharpness[shiny]
    grazing = 0.14 + 0.30 * (1 - np.clip(normal[2], 0, 1)) ** 4
    total = np.zeros(len(shiny), np.float32)
    for direction, visible, weight in ((rig.key, shadow, 1.0), (rig.fill, occlusion, 0.35)):
        mirror = np.clip(_unit(direction + VIEW) @ normal, 0, 1) ** sharpness
        total += weight * visible[shiny] * mirror
    total *= grazing * surface.gloss[shiny]
    for channel in colour:
        channel[shiny] += total


def _hair_sheen(
    colour: np.ndarray, person: Person, rig: Rig, surface: Surface, shadow: np.ndarray
) -> None:
    """Add the band of light across strands, which run perpendicular to the x axis, in place."""
    _, y, z = surface.normal[:, surface.hair]
    along = normalised(np.stack([np.zeros_like(y), z, -y]))
    across = 1 - (_unit(rig.key + VIEW) @ along) ** 2
    band = np.clip(across, 0, 1) ** 30 * np.clip(0.7 + 0.5 * surface.strands, 0, 1.6)
    tint = 0.025 + 0.175 * linear(person.hair_colour)
    colour[:, surface.hair] += tint[:, None] * (band * shadow[surface.hair])


def _eye_glints(colour: np.ndarray, rig: Rig, surface: Surface, shadow: np.ndarray) -> None:
    """Shade the upper eyeball and add the reflections of key and fill, in place."""
    normal = surface.normal[:, surface.eye]
    glint = np.zeros(len(surface.eye), np.float32)
    for direction, weight in ((rig.key, 0.9), (rig.fill, 0.225)):
        glint += weight * smooth_step(0.9935, 0.9975, _unit(direction + VIEW) @ normal)
    shade = 1 - 0.30 * smooth_step(0.15, 0.75, normal[1])
    colour[:, surface.eye] = colour[:, surface.eye] * shade + glint * shadow[surface.eye]


def add_sweat(colour: np.ndarray, person: Person, seen: Fragments, strength: float) -> None:
    """Draw drops on forehead and temples, in place."""
    rng = np.random.default_rng(person.seed + 9)
    x, y, z = seen.canonical
    front = np.flatnonzero((seen.part == SKIN) & (z > 0.5))
    x, y = x[front], y[front]
    for drop in range(9):
        across, up = rng.choice([-1, 1]) * rng.uniform(0.12, 0.62), rng.uniform(7.55, 7.85)
        if drop > 5:
            side = 1 if drop % 2 else -1
            across, up = side * rng.uniform(0.50, 0.64), rng.uniform(6.85, 7.12)
        size = np.float32(rng.uniform(0.8, 1.3))
        dx, dy = x - np.float32(across), y - np.float32(up)
        near = np.flatnonzero((np.abs(dx) < 0.1) & (np.abs(dy) < 0.15))
        dx, dy = dx[near], dy[near]
        radius = np.hypot(dx * 1.25, dy * 0.8) / size
        body = smooth_step(0.042, 0.030, radius) * np.float32(min(1, strength * 1.1))
        rim = bell(radius - 0.036, 0.008) * np.float32(min(1, strength))
        spark = bell(np.hypot(dx + 0.010, dy - 0.012) / size, 0.012) * body
        water = np.array([[0.05], [0.06], [0.075]], np.float32)
        spot = front[near]
        colour[:, spot] = colour[:, spot] * (1 - 0.38 * rim) + water * body + 0.8 * spark
