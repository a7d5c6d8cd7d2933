"""The pose of each expression at full strength.

The recipes follow FACS descriptions of the twelve words. Confusing pairs share actions: fear and
surprised the raised brows and wide eyes, angry and disgust the lowered brows and wrinkled nose,
anxious and sad the raised inner brows, confident and happy the smile. A pose is linear in strength
until an action reaches its limit. Head turns stay small, so that an edit is mostly local.
"""

from pixelsmile.faces.base import Mix
from pixelsmile.faces.human.pose import Pose, both, gaze, weighted_sum
from pixelsmile.faces.scores import check_mix

NO_SMILE = both(mouthSmile=-0.17)
"""Takes away the slight smile of the resting face."""

RECIPES = {
    "angry": Pose(
        both(browDown=1.1, browOuterUp=-0.1, eyeSquint=0.25, eyeWide=0.35, noseSneer=0.4)
        | both(mouthPress=0.8, mouthFrown=0.45, cheekSquint=0.1)
        | {"mouthShrugLower": 0.35, "mouthRollLower": 0.25, "jawForward": 0.35}
        | NO_SMILE,
        turn=(0.0, 1.5, 0.0),
        effects={"flush": 0.9},
    ),
    "confused": Pose(
        {"browDownLeft": 1.0, "browDownRight": 0.15, "browInnerUp": 0.4}
        | {"browOuterUpLeft": -0.1, "browOuterUpRight": 1.0}
        | {"eyeSquintLeft": 0.55, "eyeWideRight": 0.15, "mouthUpperUpLeft": 0.2}
        | {"mouthFrownLeft": 0.15, "mouthFrownRight": 0.4, "mouthLeft": 0.6, "mouthPucker": 0.35}
        | both(mouthSmile=-0.15)
        | gaze(0.45, 0.30),
        turn=(0.0, 0.0, 3.0),
    ),
    "contempt": Pose(
        {"mouthSmileLeft": 0.75, "mouthSmileRight": -0.17, "mouthDimpleLeft": 0.8}
        | {"mouthPressRight": 0.35, "mouthUpperUpLeft": 0.3, "mouthLeft": 0.2}
        | {"noseSneerLeft": 0.3, "cheekSquintLeft": 0.3}
        | {"browOuterUpLeft": 0.35, "browDownRight": 0.35}
        | both(eyeBlink=0.22, eyeWide=-0.2, eyeSquint=0.15)
        | gaze(0.0, -0.08),
        turn=(0.0, -2.5, 0.0),
    ),
    "confident": Pose(
        both(mouthSmile=0.6, mouthDimple=0.3, mouthPress=0.2, cheekSquint=0.15)
        | both(eyeSquint=0.3, eyeWide=-0.05)
        | {"browOuterUpRight": 0.8, "browDownLeft": 0.3},
        turn=(0.0, -1.5, 0.0),
    ),
    "disgust": Pose(
        both(noseSneer=1.1, mouthUpperUp=0.9, mouthLowerDown=0.3, mouthFrown=0.45)
        | both(browDown=0.65, eyeSquint=0.6, cheekSquint=0.6, eyeWide=-0.2)
        | {"jawOpen": 0.16, "mouthShrugLower": 0.3, "tongueOut": 0.3}
        | NO_SMILE
        | gaze(0.0, -0.10),
        turn=(0.0, -1.0, 0.0),
    ),
    "fear": Pose(
        both(browOuterUp=0.3, browDown=0.4, eyeWide=0.9)
        | both(mouthStretch=1.05, mouthLowerDown=0.6, mouthFrown=0.2)
        | {"browInnerUp": 1.2, "jawOpen": 0.26}
        | NO_SMILE,
        turn=(0.0, -1.5, 0.0),
        effects={"pale": 1.0},
    ),
    "happy": Pose(
        both(mouthSmile=0.88, mouthUpperUp=0.4, mouthLowerDown=0.35, mouthDimple=0.2)
        | both(cheekSquint=0.8, eyeSquint=0.35, eyeWide=-0.15)
        | {"jawOpen": 0.36},
        turn=(0.0, -1.0, 0.0),
    ),
    "sad": Pose(
        both(browDown=0.25, browOuterUp=-0.1, eyeBlink=0.1, eyeWide=-0.2)
        | both(mouthFrown=1.0, mouthStretch=0.1)
        | {"browInnerUp": 1.15, "mouthShrugLower": 0.6, "mouthRollLower": 0.1}
        | NO_SMILE
        | gaze(0.0, -0.50),
        turn=(0.0, 2.5, 0.0),
    ),
    "shy": Pose(
        both(mouthSmile=0.36, mouthPress=0.35, mouthDimple=0.15, eyeWide=-0.1)
        | {"browInnerUp": 0.55, "mouthRollLower": 0.35, "mouthRollUpper": 0.15}
        | gaze(0.60, -0.45),
        turn=(2.0, 2.5, 1.5),
        effects={"blush": 1.0},
    ),
    "sleepy": Pose(
        both(eyeBlink=0.47, eyeWide=-0.2, browOuterUp=0.4)
        | {"browInnerUp": 0.25, "jawOpen": 0.46, "mouthFunnel": 0.25}
        | NO_SMILE
        | gaze(0.0, -0.15),
        turn=(0.0, 2.0, 2.5),
    ),
    "surprised": Pose(
        both(browOuterUp=1.1, eyeWide=0.9)
        | {"browInnerUp": 0.9, "jawOpen": 0.78, "mouthFunnel": 0.4}
        | NO_SMILE,
        turn=(0.0, -1.0, 0.0),
    ),
    "anxious": Pose(
        both(browDown=0.45, eyeWide=0.3)
        | both(mouthPress=0.8, mouthStretch=0.5, mouthFrown=0.3)
        | {"browInnerUp": 1.05, "mouthRollLower": 0.6, "mouthRollUpper": 0.4}
        | NO_SMILE
        | gaze(-0.60, 0.05),
        effects={"sweat": 1.0, "pale": 0.25},
    ),
}


def pose_from_mix(mix: Mix) -> Pose:
    """Weighted sum of the recipes; the empty mix is the neutral pose."""
    return weighted_sum((RECIPES[name], strength) for name, strength in check_mix(mix).items())
