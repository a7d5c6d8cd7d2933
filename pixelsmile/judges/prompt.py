"""What a vision-language model is asked, word for word as in the paper's Table 6."""

from typing import Final

SCORING_PROMPT: Final = """\
Role and Task Definition

You are an expert AI specialized in analyzing facial expressions in both photorealistic and \
anime-style images. Your task is to analyze the input image and determine the intensity score for \
specific expression categories.

Target Emotion Definitions

Analyze the image based on the following visual definitions. Crucially, pay close attention to the \
distinctions between similar expressions (e.g., Fear vs. Surprise, Anger vs. Disgust).

- Happiness: Faintly smiling, cheerful, ecstatic; corners of the mouth raised or laughing.
- Sadness: Somber, sorrowful, devastated; frowning with downcast eyes or tears.
- Anger: Annoyed, angry, furious; furrowed brows and glaring eyes.
- Fear: Wary, frightened, terrified; knitted brows and pupil constriction.
- Surprise: Taken aback, amazed, stunned; eyes wide open or jaw dropped.
- Disgust: Distasteful, repulsed, gagging; wrinkling the nose or raising the upper lip.
- Embarrassment: A shy smile, blushing cheeks, avoiding eye contact, looking down, or covering the \
face with hands.
- Confidence: Self-assured smile, corners of the mouth raised, sharp and firm gaze, slightly smug.
- Confusion: Knitted brows, looking aside or rolling the eyes, head tilted in deep thought.
- Drowsiness: Heavy drooping eyelids, yawning, lethargic or low-energy look.
- Contempt: Asymmetrical smirk (one corner raised), sneering, looking down on someone.
- Nervousness: Visible sweat drops, tense facial muscles, uneasy or restless gaze.

Output Format Requirements

- Return format: Output a standard JSON object.
- Keys: Use the exact emotion labels provided above.
- Values: The intensity score (a float between 0.00 and 1.00).
- Constraint: Do not explain your reasoning. Output only the JSON object. Do not include Markdown \
formatting such as ````json ... ````.

Output Example

{
  "Happiness": 0.90,
  "Surprise": 0.75,
  "Anger": 0.05,
  ...
}
"""
"""The one prompt of both domains (Table 6); its title and the fence around the example left out."""

PROMPT_LABELS: Final = (
    "Happiness",
    "Sadness",
    "Anger",
    "Fear",
    "Surprise",
    "Disgust",
    "Embarrassment",
    "Confidence",
    "Confusion",
    "Drowsiness",
    "Contempt",
    "Nervousness",
)
"""The labels in the order of the prompt, which is not the order of `EXPRESSIONS`."""
