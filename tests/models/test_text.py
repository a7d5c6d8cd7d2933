"""Prompt embeddings are those of the stock pipeline, for many prompts at once."""

import importlib.resources
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from pixelsmile.conditioning import join_suffix
from pixelsmile.data.encoding import encode_prompts, prompts_of
from pixelsmile.data.images import Sizes
from pixelsmile.data.samples import Sample
from pixelsmile.expressions import DOMAINS, EXPRESSIONS, NEUTRAL, prompt
from pixelsmile.models.text import PromptEncoder

SIZE = 56
WORDS = (NEUTRAL, *EXPRESSIONS)


@pytest.fixture(scope="module")
def image():
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def encoder(tiny_stack):
    return PromptEncoder.from_pretrained(tiny_stack / "pipeline", size=SIZE)


@pytest.mark.parametrize("domain", DOMAINS)
def test_embeddings_equal_those_of_the_stock_pipeline(encoder, pipeline, image, domain):
    prompts = [prompt(word, domain) for word in ("happy", NEUTRAL)]
    together = encoder(image, prompts)
    for text, actual in zip(prompts, together, strict=True):
        with torch.no_grad():
            expected, mask = pipeline.encode_prompt(text, image=[image])
        assert mask is None
        torch.testing.assert_close(actual, expected[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def whole(encoder, image, text):
    """One prompt encoded whole, everything left to the processor and the model: (L, D)."""
    image = image.convert("RGB").resize((encoder.size, encoder.size), Image.Resampling.LANCZOS)
    slot = "Picture 1: <|vision_start|><|image_pad|><|vision_end|>"
    inputs = encoder.processor(
        text=[encoder.template.format(slot + text)], images=[image], return_tensors="pt"
    )
    if encoder.stock_positions:
        del inputs["mm_token_type_ids"]
    return encoder.text_encoder.model(**inputs).last_hidden_state[0, encoder.prefix_length :]


def other_positions(encoder):
    """The same model with the positions it was designed for."""
    return PromptEncoder(
        encoder.text_encoder, encoder.processor, size=encoder.size, stock_positions=False
    )


@pytest.fixture(scope="module")
def shipped():
    folder = importlib.resources.files("pixelsmile.faces.tiny") / "weights" / "pipeline"
    return PromptEncoder.from_pretrained(str(folder), size=SIZE)


@pytest.mark.parametrize("size", [56, 128])
@pytest.mark.parametrize("stock", [True, False])
@pytest.mark.parametrize("domain", DOMAINS)
def test_shared_encoding_equals_each_prompt_encoded_whole(shipped, image, domain, stock, size):
    encoder = PromptEncoder(
        shipped.text_encoder, shipped.processor, size=size, stock_positions=stock
    )
    prompts = [prompt(word, domain) for word in WORDS]
    together = encoder(image, prompts)
    for text, actual in zip(prompts, together, strict=True):
        torch.testing.assert_close(actual, whole(encoder, image, text), atol=1e-5, rtol=0)


def test_an_encoding_leaves_no_trace_in_the_next(encoder, image):
    """The model remembers position offsets between calls; they must not leak."""
    prompts = [prompt(word, "human") for word in WORDS[:3]]
    before = encoder(image, prompts)
    other_positions(encoder)(image, prompts)
    whole(other_positions(encoder), image, prompts[0])
    assert torch.equal(encoder(image, prompts), before)


def test_prompts_share_all_but_the_last_seven_tokens(encoder, image):
    states = encoder.share(image, [prompt(word, "human") for word in WORDS])
    assert states.shared.shape == (4 + 13, 128)  # 4 image tokens at 56 pixels
    assert states.suffixes.shape == (13, 7, 128)
    gaps = (states.suffixes[1:] - states.suffixes[:1]).abs().amax(-1)
    assert (gaps > 1e-3).all()


def test_image_is_looked_at_once_and_words_before_the_expression_are_run_once(
    encoder, image, monkeypatch
):
    language, visual = encoder.text_encoder.model.language_model, encoder.text_encoder.model.visual
    seen, looked = [], []
    forward, look = language.forward, visual.forward
    monkeypatch.setattr(
        language, "forward", lambda **k: seen.append(k["inputs_embeds"].shape[:2]) or forward(**k)
    )
    monkeypatch.setattr(visual, "forward", lambda *a, **k: looked.append(1) or look(*a, **k))
    encoder(image, [prompt(word, "human") for word in WORDS])
    assert len(looked) == 1
    assert seen == [(1, 64 + 4 + 13), (13, 7)]


def test_alike_prompts_and_a_single_one_are_encoded_too(encoder, image):
    text = prompt("happy", "human")
    expected = whole(encoder, image, text)
    for prompts in ([text], [text, text]):
        for actual in encoder(image, prompts):
            torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


# ---- uneven prompts -------------------------------------------------------------------------

UNEVEN = {
    "neutral": "Edit the person to show a neutral expression",
    "long": "Edit the person to show a melancholically wistful expression",
    "happy": "Edit the person to show a happy expression",
    "none": "Edit the person to show a expression",
}


@pytest.mark.parametrize("stock", [True, False])
def test_uneven_words_keep_both_ends_aligned_with_one_warning(encoder, image, stock):
    encoder = encoder if stock else other_positions(encoder)
    encoder._warned = False
    with pytest.warns(UserWarning, match="melancholically.*tokens more than.*repeated") as warned:
        embeddings = encoder(image, list(UNEVEN.values()))
    assert len(warned) == 1
    alone = [whole(encoder, image, text) for text in UNEVEN.values()]
    lengths = [len(states) for states in alone]
    longest = max(lengths)
    assert len(set(lengths)) == 3
    assert embeddings.shape[1] == longest
    start, tail = 4 + 13, 6
    for states, actual in zip(alone, embeddings, strict=True):
        word = len(states) - tail
        expected = [
            states[:word],
            states[word - 1].expand(longest - len(states), -1),
            states[word:],
        ]
        torch.testing.assert_close(actual, torch.cat(expected), atol=1e-5, rtol=0)
        torch.testing.assert_close(actual[:start], embeddings[0, :start], atol=0, rtol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder(image, list(UNEVEN.values()))  # said once


def test_uneven_words_of_a_whole_set_still_make_one_entry(encoder, image, tmp_path, monkeypatch):
    """A tokenizer that splits one of the thirteen words in more pieces than the others."""
    image.save(tmp_path / "face.png")
    sample = Sample(tmp_path / "face.png", "a", "human", NEUTRAL, (0.0,) * 12)
    words = [text.replace("shy", "embarrassed") for text in prompts_of(sample)]
    monkeypatch.setattr("pixelsmile.data.encoding.prompts_of", lambda sample: words)
    encoder._warned = False
    with pytest.warns(UserWarning, match="embarrassed"):
        entry = encode_prompts(sample, Sizes(encoder.size, encoder.size), encoder)
    embeddings = [whole(encoder, image, text) for text in words]
    longest = max(map(len, embeddings))
    assert entry["neutral"].shape[0] == longest > len(embeddings[0])
    rebuilt = join_suffix(entry["neutral"], entry["suffixes"][EXPRESSIONS.index("shy")])
    expected = embeddings[WORDS.index("shy")]
    torch.testing.assert_close(rebuilt, expected, atol=1e-5, rtol=0)  # the longest is as it is


def test_stored_suffixes_rebuild_every_embedding(encoder, image, tmp_path):
    image.save(tmp_path / "face.png")
    sample = Sample(tmp_path / "face.png", "a", "anime", NEUTRAL, (0.0,) * 12)
    entry = encode_prompts(sample, Sizes(encoder.size, encoder.size), encoder)
    embeddings = encoder(image, [prompt(word, "anime") for word in WORDS])
    assert entry["suffixes"].shape == (12, 7, embeddings.shape[-1])
    assert torch.equal(entry["neutral"], embeddings[0])
    rebuilt = join_suffix(entry["neutral"].expand(12, -1, -1), entry["suffixes"])
    assert torch.equal(rebuilt, embeddings[1:])


def test_embeddings_depend_on_the_image_and_on_its_positions(encoder, tiny_stack, image):
    text = [prompt("happy", "human")]
    other = encoder(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), text)
    designed = other_positions(encoder)
    assert not torch.allclose(encoder(image, text), other, atol=1e-3)
    assert not torch.allclose(encoder(image, text), designed(image, text), atol=1e-3)


def test_image_of_another_size_and_mode_is_brought_to_the_encoder_s(encoder, image):
    text = [prompt("happy", "human")]
    large = image.resize((3 * SIZE, 3 * SIZE), Image.Resampling.NEAREST).convert("RGBA")
    assert encoder(large, text).shape == encoder(image, text).shape
