"""Sample a person from a seed: build, complexion, hair, eyes, clothes, camera and light."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelsmile.faces.human.pack import load_pack

# Display colours, 0 to 255, from the lightest to the darkest skin.
SKIN_TONES = np.array(
    [
        [244, 212, 192],
        [234, 193, 166],
        [222, 177, 141],
        [198, 148, 112],
        [160, 110, 78],
        [118, 79, 56],
        [88, 58, 42],
    ]
)
ORIGIN_TONE = np.array([5.0, 1.9, 1.0])
"""Mean row of `SKIN_TONES` for African, Asian and Caucasian shapes."""

HAIR_COLOURS = {
    "black": (22, 18, 17),
    "darkbrown": (48, 32, 24),
    "brown": (84, 56, 38),
    "auburn": (112, 56, 32),
    "blond": (186, 148, 92),
    "grey": (148, 146, 144),
    "white": (214, 212, 208),
}
EYE_COLOURS = {
    "brown": (84, 50, 26),
    "dark": (46, 28, 18),
    "blue": (96, 138, 172),
    "green": (98, 122, 78),
    "grey": (122, 132, 138),
    "hazel": (124, 92, 48),
}
CHILD_AGE = 0.45

# Spread of the local shape targets. Shapes that would read as an expression hardly vary; shapes
# that would move the head out of the frame do not.
DEFAULT_SPREAD = 0.25
SPREADS = (
    (("eyes/l-eye-trans-out", "eyes/r-eye-trans-out"), DEFAULT_SPREAD),
    (("trans-out", "neck", "head-trans"), 0.0),
    (("mouth-angles", "eyebrows-angle", "laugh-lines", "mouth-trans-up"), 0.06),
    (("eye-height", "ear-shape", "dimples", "head-angle", "head-fat"), 0.13),
    (("nose-compress", "eye-push", "cheek-volume"), 0.13),
    (("mouth/",), 0.20),
)


@dataclass(frozen=True)
class Person:
    """One identity. Colours are display values in [0, 1]; lengths are decimetres.

    Attributes:
        seed: The seed it was sampled from.
        female: Drawn sex; `femininity` is how far the shape follows it, 1 female to 0 male.
        age: 0.3 child, 0.5 young, 1 old.
        origins: African, Asian and Caucasian shares of the shape, sum 1.
        weight: 0 thin to 1 heavy.
        shapes: Local shape target to weight.
        skin: Skin colour, (3,).
        hair: Style, see `hair.py`; `hair_colour` (3,), `hair_name` its word.
        eye_colour: Iris colour, (3,).
        stubble: 0 none to 1 beard.
        brow_density: Thickness of the brows; `brow_height` shifts them.
        lipstick: 0 natural to 1 red.
        freckles: Strength; `moles` is a count.
        wrinkles: Depth of the lines of age, 0 to 0.75.
        turn: Yaw, pitch and roll of the head in this photograph, degrees.
        key_light: Direction (x, y) of the key light beside z = 1.
        warmth: Colour of the light, positive is warm.
        background: (3,).
        shirt: (3,).
        collar: Height of the collar.
        parting: Sideways shift of the parting.
        zoom: Framing factor round 1.
        oiliness: Gloss of the skin round 0.8.
    """

    seed: int
    female: bool
    femininity: float
    age: float
    origins: np.ndarray
    weight: float
    shapes: dict[str, float]
    skin: np.ndarray
    hair: str
    hair_colour: np.ndarray
    hair_name: str
    eye_colour: np.ndarray
    stubble: float
    brow_density: float
    brow_height: float
    lipstick: float
    freckles: float
    moles: int
    wrinkles: float
    turn: tuple[float, float, float]
    key_light: tuple[float, float]
    warmth: float
    background: np.ndarray
    shirt: np.ndarray
    collar: float
    parting: float
    zoom: float
    oiliness: float


def sample_person(seed: int) -> Person:
    """Draw the person of a seed. The order of the draws defines the identities: keep it."""
    rng = np.random.default_rng(seed)
    female = bool(rng.random() < 0.5)
    strength = float(np.clip(rng.beta(6, 1.5), 0, 1))
    origins = rng.dirichlet([0.45, 0.45, 0.45])
    age = _sample_age(rng)
    weight = float(np.clip(rng.normal(0.5, 0.22), 0, 1))
    tone, skin = _sample_skin(rng, origins)
    hair_name, hair_colour, eye_colour = _sample_colours(rng, origins, age)
    hair = _sample_hair(rng, female, origins, age)
    return Person(
        seed=seed,
        female=female,
        femininity=strength if female else 1 - strength,
        age=age,
        origins=origins,
        weight=weight,
        skin=skin,
        hair=hair,
        hair_colour=hair_colour,
        hair_name=hair_name,
        eye_colour=eye_colour,
        wrinkles=float(np.clip((age - 0.55) * 1.5, 0, 0.75)),
        **_sample_look(rng, female, age, tone),
        shapes=_sample_shapes(rng),
    )


def _sample_age(rng: np.random.Generator) -> float:
    spans = ((0.3, 0.42), (0.5, 0.62), (0.62, 0.8), (0.8, 1.0))
    age = rng.choice([rng.uniform(low, high) for low, high in spans], p=[0.12, 0.45, 0.25, 0.18])
    return float(np.clip(age, 0, 1))


def _sample_skin(rng: np.random.Generator, origins: np.ndarray) -> tuple[float, np.ndarray]:
    tone = float(np.clip(origins @ ORIGIN_TONE + rng.normal(0, 0.7), 0.35, 6))
    row = min(int(tone), len(SKIN_TONES) - 2)
    colour = SKIN_TONES[row] * (1 - tone + row) + SKIN_TONES[row + 1] * (tone - row)
    return tone, np.clip(colour / 255 * rng.normal(1, 0.025, 3), 0.1, 0.98)


def _sample_colours(
    rng: np.random.Generator, origins: np.ndarray, age: float
) -> tuple[str, np.ndarray, np.ndarray]:
    light = origins[2] > 0.55
    if light:
        names = ["blond", "brown", "auburn", "darkbrown", "black"]
        name = str(rng.choice(names, p=[0.25, 0.3, 0.12, 0.23, 0.1]))
    else:
        name = str(rng.choice(["black", "darkbrown", "brown"], p=[0.6, 0.3, 0.1]))
    if age > 0.75 and rng.random() < 0.8:
        name = str(rng.choice(["grey", "white"]))
    variation = rng.normal(1, 0.10) * rng.normal(1, 0.02, 3)
    hair = np.clip(np.array(HAIR_COLOURS[name]) / 255 * variation, 0.03, 0.9)
    if light:
        names = ["blue", "green", "grey", "hazel", "brown"]
        eye = rng.choice(names, p=[0.3, 0.15, 0.15, 0.15, 0.25])
    else:
        eye = rng.choice(["dark", "brown", "hazel"], p=[0.55, 0.35, 0.1])
    return name, hair, np.array(EYE_COLOURS[str(eye)]) / 255


def _sample_hair(rng: np.random.Generator, female: bool, origins: np.ndarray, age: float) -> str:
    african = origins[0] >= 0.5
    if female:
        styles = ["long", "bob", "bun", "short", "afro"]
        odds = [0.2, 0.2, 0.25, 0.15, 0.2] if african else [0.4, 0.25, 0.2, 0.1, 0.05]
    else:
        styles = ["short", "quiff", "buzz", "bald", "afro"]
        odds = [0.25, 0.1, 0.35, 0.15, 0.15] if african else [0.45, 0.25, 0.15, 0.15, 0.0]
    style = str(rng.choice(styles, p=odds))
    return "short" if style == "bald" and age < CHILD_AGE else style


def _sample_look(rng: np.random.Generator, female: bool, age: float, tone: float) -> dict[str, Any]:
    stubble = 0.0
    if not female and age >= CHILD_AGE:
        stubble = float(rng.choice([0, 0.25, 0.6, 1.0], p=[0.35, 0.3, 0.2, 0.15]))
    return {
        "stubble": stubble,
        "brow_density": float(rng.uniform(0.7, 1.25) * (0.82 if female else 1.1)),
        "brow_height": float(rng.normal(0, 0.012)),
        "lipstick": float(rng.uniform(0.15, 0.95) if female else rng.uniform(0, 0.3)),
        "freckles": float(max(0, rng.normal(0, 0.5))) if tone < 2.2 else 0.0,
        "moles": int(rng.integers(0, 4)),
        "turn": (
            float(np.clip(rng.normal(0, 7), -14, 14)),
            float(rng.normal(0, 2.5)),
            float(rng.normal(0, 1.5)),
        ),
        "key_light": (
            float(rng.choice([-1, 1]) * rng.uniform(0.35, 0.95)),
            float(rng.uniform(0.35, 0.85)),
        ),
        "warmth": float(rng.normal(0, 0.06)),
        "background": np.clip(rng.uniform(0.15, 0.8) + rng.normal(0, 0.06, 3), 0.08, 0.9),
        "shirt": np.clip(rng.uniform(0.04, 0.85, 3), 0, 1),
        "collar": float(rng.uniform(5.35, 5.75)),
        "parting": float(rng.choice([-0.25, -0.12, 0.12, 0.25, 0.0])),
        "zoom": float(rng.normal(1, 0.03)),
        "oiliness": float(rng.uniform(0.5, 1.2)),
    }


def _spread(name: str) -> float:
    for words, spread in SPREADS:
        if any(word in name for word in words):
            return spread
    return DEFAULT_SPREAD


def _sample_shapes(rng: np.random.Generator) -> dict[str, float]:
    """Draw the local shapes; left and right share a value, with a little asymmetry.

    Local targets come in opposite pairs, of which one is used according to the sign.
    """
    names = [name for name in load_pack().targets if name.startswith("local:")]
    opposite = dict(zip(names[::2], names[1::2], strict=True))
    shapes = {}
    for name in opposite:
        spread = _spread(name)
        if spread == 0 or "/r-" in name:
            continue
        value = rng.normal(0, spread)
        twins = (name, name.replace("/l-", "/r-")) if "/l-" in name else (name,)
        for twin in twins:
            weight = float(np.clip(value + rng.normal(0, 0.12 * spread), -1, 1))
            shapes[twin if weight >= 0 else opposite[twin]] = abs(weight)
    return shapes
