"""Paint the skin: complexion, blood, stubble, hairline, lips, brows, clothes and mouth.

`Paint` works on the S skin samples. Colours are linear light, (3, S); positions are canonical.
"""

import numpy as np

from pixelsmile.faces.human.anatomy import above_hairline
from pixelsmile.faces.human.fields import bell, linear, noise, smooth_step
from pixelsmile.faces.human.fragments import Fragments
from pixelsmile.faces.human.identity import Person
from pixelsmile.faces.human.pose import Pose

FLUSHED = (1.06, 0.80, 0.78)
ANGRY_FLUSH = (1.04, 0.72, 0.70)
BLUSH = (1.06, 0.60, 0.62)
PALLOR = (0.98, 1.07, 1.12)
ADDED_BLOOD = np.array([[0.11], [-0.004], [0.004]], np.float32)
"""On dark skin blood shows as added red: a filter alone would be invisible."""

LIPSTICK = np.array([0.42, 0.07, 0.09], np.float32)
BARE_LIPS = np.array([0.88, 0.52, 0.52], np.float32)
THROAT = np.array([[0.16], [0.025], [0.025]], np.float32)


class Paint:
    """Albedo, gloss and sharpness of the skin samples, built up layer by layer.

    Attributes:
        colour: (3, S), linear albedo.
        gloss: (S,), strength of the highlight.
        sharpness: (S,), exponent of the highlight.
    """

    def __init__(self, person: Person, pose: Pose, surface: Fragments) -> None:
        self.person, self.pose = person, pose
        self.x, self.y, self.z = np.take(surface.canonical, surface.skin, axis=1)
        self.width = np.abs(self.x)
        self.around = np.arctan2(self.x, self.z - np.float32(0.4))
        self.lips, self.ears, self.eyelids = surface.lips, surface.ears, surface.eyelids
        self.mouth = surface.mouth[surface.skin]
        self.base = linear(person.skin)
        self.brightness = float(self.base.mean())
        self.hair = linear(person.hair_colour)
        count = len(surface.skin)
        self.colour = np.repeat(self.base[:, None], count, 1)
        self.gloss = np.full(count, 0.35 * person.oiliness, np.float32)
        self.sharpness = 22 + 25 * self.lips

    def build(self) -> "Paint":
        """Apply all layers in order and return self."""
        self._cheeks = bell(self.width - 0.42, 0.16) * bell(self.y - 6.98, 0.16) * (self.z > 0.7)
        self._nose = bell(self.x, 0.13) * bell(self.y - 6.93, 0.09) * (self.z > 1.45)
        self._complexion()
        self._blood()
        self._blemishes()
        if self.person.stubble > 0:
            self._stubble()
        self._scalp()
        self._lips()
        self._brows()
        self._tint(self.eyelids * np.float32(0.35), (0.82, 0.62, 0.60))
        self._clothes()
        self._mouth()
        return self

    def _tint(self, mask: np.ndarray, colour: tuple[float, float, float]) -> None:
        """Multiply towards a filter colour where the mask is 1."""
        for channel, factor in zip(self.colour, colour, strict=True):
            channel *= 1 + mask * np.float32(factor - 1)

    def _cover(self, colour: np.ndarray, mask: np.ndarray) -> None:
        """Paint over where the mask is 1; colour is (3,) or (3, S)."""
        colour = colour[:, None] if colour.ndim == 1 else colour
        self.colour += (colour - self.colour) * mask

    def _complexion(self) -> None:
        blotches = noise("cloud", self.around * 0.35, self.y * 0.22)
        self._tint(np.clip(0.5 + 0.35 * blotches, 0, 1) * 0.22, FLUSHED)
        rosy = np.clip(0.55 * self._cheeks + 0.6 * self._nose + 0.5 * self.ears, 0, 1)
        self._tint(rosy * (0.9 if self.brightness > 0.2 else 0.5), FLUSHED)

    def _blood(self) -> None:
        """Flush, blush and pallor."""
        flush, blush, pale = (self.pose.effect(name) for name in ("flush", "blush", "pale"))
        extra = np.float32(np.clip((0.40 - self.brightness) / 0.30, 0, 1)) * ADDED_BLOOD
        if flush > 0:
            brow = bell(self.y - 7.9, 0.25) * (self.z > 0.7)
            mask = self._cheeks + 0.5 * self._nose + 0.35 * brow
            mask = np.clip(mask * np.float32(flush * 0.8), 0, 1)
            self._tint(mask, ANGRY_FLUSH)
            self.colour += extra * (0.6 * mask)
        if blush > 0:
            mask = self._cheeks * 1.25 + 0.55 * self._nose + 0.5 * self.ears
            mask = np.clip(mask * np.float32(blush), 0, 1)
            self._tint(mask, BLUSH)
            self.colour += extra * mask
        if pale > 0:
            self._tint((self.z > 0.6) * np.float32(min(pale, 1)), PALLOR)
        np.maximum(self.colour, 0, out=self.colour)

    def _blemishes(self) -> None:
        """Shadows round the eyes, mottling, freckles and moles."""
        sockets = bell(self.width - 0.30, 0.15) * bell(self.y - 7.25, 0.09) * (self.z > 1.0)
        self._tint(sockets * 0.55, (0.80, 0.72, 0.74))
        mottle = noise("grain", self.around * 0.9, self.y * 0.6)
        self._tint(np.clip(0.16 * mottle, -0.3, 0.3) * 0.35, (0.6, 0.55, 0.5))
        if self.person.freckles > 0.2:
            spots = noise("grain", self.around * 0.8 + 0.3, self.y * 0.55)
            where = self._cheeks + self._nose + 0.5 * bell(self.y - 7.1, 0.2)
            where = where * (self.z > 0.9) * np.float32(self.person.freckles)
            self._tint(np.clip((spots - 1.3) * 1.6, 0, 1) * where, (0.62, 0.46, 0.36))
        rng = np.random.default_rng(self.person.seed + 5)
        for _ in range(self.person.moles):
            x, y = rng.uniform(-0.5, 0.5), rng.uniform(6.4, 7.9)
            spot = bell(np.hypot(self.x - np.float32(x), self.y - np.float32(y)), 0.014)
            self._tint(np.clip(spot * 1.3, 0, 1) * (self.z > 0.7), (0.30, 0.22, 0.20))

    def _stubble(self) -> None:
        level = self.y - 0.35 * smooth_step(0.45, 0.7, self.width)
        jaw = smooth_step(6.78, 6.62, level) * smooth_step(0.42, 0.62, self.z)
        jaw *= smooth_step(5.85, 6.1, self.y + 0.2 * (1.3 - self.z))
        upper = bell(self.y - 6.80, 0.055) * smooth_step(0.30, 0.22, self.width) * (self.z > 1.3)
        bare = bell(self.width, 0.14) * bell(self.y - 6.47, 0.03)
        mask = np.clip(jaw + upper - 0.5 * bare, 0, 1)
        mask *= (1 - np.clip(self.lips * 2, 0, 1)) * (1 - self.ears)
        grain = noise("grain", self.around * 3.1, self.y * 2.6)
        amount = self.person.stubble
        density = min(0.30 + 0.62 * amount, 0.93) if amount > 0.8 else 0.62 * amount
        mask *= np.clip(0.62 + 0.45 * grain, 0, 1) * np.float32(density)
        self._cover(self.hair * np.float32(0.8) + np.float32(0.01), mask)

    def _scalp(self) -> None:
        """Hair roots under the hair, a buzz cut, or a bare scalp."""
        height = above_hairline(self.y, self.z)
        height += 0.035 * noise("grain", self.around * 1.2, self.y * 0.8)
        mask = smooth_step(-0.03, 0.12, height) * (1 - np.clip(3 * self.ears, 0, 1))
        if self.person.hair == "bald":
            self._tint(mask * np.float32(0.12), (0.75, 0.78, 0.85))
            return
        density = 0.80 if self.person.hair == "buzz" else 0.93
        roots = noise("grain", self.around * 3.3, self.y * 2.9)
        cover = mask * np.clip(density + 0.22 * roots, 0, 0.97)
        self._cover(self.hair * np.float32(0.9) + np.float32(0.004), cover)
        self.gloss *= 1 - np.float32(0.6) * mask

    def _lips(self) -> None:
        red = np.float32(self.person.lipstick)
        dimming = np.float32(0.45 + 0.55 * min(1, self.brightness * 3))
        colour = self.base * BARE_LIPS * (1 - red) + LIPSTICK * (red * dimming)
        self._cover(colour, np.clip(self.lips * 1.15, 0, 1) * np.float32(0.86))
        self.gloss += self.lips * np.float32(0.35)

    def _brows(self) -> None:
        person = self.person
        along = (self.width - 0.095) * np.float32(1 / 0.43)
        inner = np.clip(along, 0, 1)
        arch = 7.452 + person.brow_height + 0.085 * inner - 0.115 * inner ** np.float32(2.6)
        taper = np.clip(1 - 0.72 * along, 0.12, 1) * (1 - 0.35 * smooth_step(0.25, -0.05, along))
        thickness = taper * np.float32(0.043 * person.brow_density)
        strokes = (self.width * 0.9 - (self.y - 7.45) * 0.8) * 2.2
        hairs = noise("dust", strokes, (self.y + 0.4 * self.width) * 0.35)
        mask = smooth_step(1.25, 0.35, np.abs(self.y - arch) / thickness + 0.22 * hairs)
        mask *= smooth_step(-0.05, 0.10, along) * smooth_step(1.06, 0.80, along) * (self.z > 0.9)
        cover = np.clip(mask * (0.88 + 0.15 * hairs), 0, 0.93)
        fair = person.hair_name in ("grey", "white", "blond")
        self._cover(self.hair * np.float32(0.55 if fair else 0.75), cover)
        self.gloss *= 1 - np.float32(0.7) * cover

    def _clothes(self) -> None:
        collar = self.person.collar + 0.55 * smooth_step(0.42, 0.72, self.width)
        collar -= 0.22 * bell(self.x, 0.35) * (self.z > 0.2)
        cloth = smooth_step(0.015, -0.015, self.y - collar)
        weave = 1 + 0.05 * noise("grain", self.x * 2, self.y * 2)
        self._cover(linear(self.person.shirt)[:, None] * weave, cloth)
        self.gloss *= 1 - np.float32(0.9) * cloth

    def _mouth(self) -> None:
        inside = np.clip(self.mouth * 1.3, 0, 1)
        self._cover(THROAT * np.clip((self.z - 0.7) / 0.8, 0.10, 1), inside)
        self.gloss *= 1 - np.float32(0.5) * inside
