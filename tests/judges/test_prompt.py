"""The prompt is that of the paper, word for word."""

from pathlib import Path

from pixelsmile.expressions import EXPRESSIONS, canonical
from pixelsmile.judges.prompt import PROMPT_LABELS, SCORING_PROMPT

TABLE_6 = Path(__file__).with_name("table_6.md")
"""Table 6 as the paper prints it, with caption, title, and the fence around the example."""


def words(text):
    """Return the words of a text, so that line breaks do not count."""
    return text.split()


def test_prompt_is_table_6_word_for_word():
    printed = TABLE_6.read_text()
    _, _, body = printed.partition("Facial Expression Scoring Prompt\n")
    lines = [line for line in body.splitlines() if line.strip() != "```"]
    assert words(SCORING_PROMPT) == words("\n".join(lines))
    assert len(words(SCORING_PROMPT)) > 200


def test_labels_are_those_that_the_prompt_defines_and_stand_for_the_twelve():
    defined = [line[2:].partition(":")[0] for line in SCORING_PROMPT.splitlines()]
    assert [label for label in defined if label in PROMPT_LABELS] == list(PROMPT_LABELS)
    assert sorted(map(canonical, PROMPT_LABELS)) == sorted(EXPRESSIONS)
