"""Prompt embeddings are those of the stock pipeline, for many prompts at once."""

import numpy as np
import pytest
import torch
from PIL import Image

from pixelsmile.conditioning import join_suffix
from pixelsmile.data.encoded import encode_prompts
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


def test_all_prompts_at_once_equal_one_by_one(encoder, image):
    prompts = [prompt(word, "human") for word in WORDS]
    together = encoder(image, prompts)
    for text, actual in zip(prompts, together, strict=True):
        torch.testing.assert_close(actual, encoder(image, [text])[0], atol=1e-5, rtol=1e-5)


def test_prompts_differ_in_exactly_the_last_seven_tokens(encoder, image):
    embeddings = encoder(image, [prompt(word, "human") for word in WORDS])
    gaps = (embeddings[1:] - embeddings[:1]).abs().amax(-1)
    assert (gaps[:, :-7] == 0).all()
    assert (gaps[:, -7:] > 1e-3).all()


def test_stored_suffixes_rebuild_every_embedding(encoder, image, tmp_path):
    image.save(tmp_path / "face.png")
    sample = Sample(tmp_path / "face.png", "a", "anime", NEUTRAL, (0.0,) * 12)
    entry = encode_prompts(sample, encoder)
    embeddings = encoder(image, [prompt(word, "anime") for word in WORDS])
    assert entry["suffixes"].shape == (12, 7, embeddings.shape[-1])
    assert torch.equal(entry["neutral"], embeddings[0])
    rebuilt = join_suffix(entry["neutral"].expand(12, -1, -1), entry["suffixes"])
    assert torch.equal(rebuilt, embeddings[1:])


def test_embeddings_depend_on_the_image_and_on_its_positions(encoder, tiny_stack, image):
    text = [prompt("happy", "human")]
    other = encoder(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), text)
    designed = PromptEncoder(
        encoder.text_encoder, encoder.processor, size=SIZE, stock_positions=False
    )
    assert not torch.allclose(encoder(image, text), other, atol=1e-3)
    assert not torch.allclose(encoder(image, text), designed(image, text), atol=1e-3)


def test_image_of_another_size_and_mode_is_brought_to_the_encoder_s(encoder, image):
    text = [prompt("happy", "human")]
    large = image.resize((3 * SIZE, 3 * SIZE), Image.Resampling.NEAREST).convert("RGBA")
    assert encoder(large, text).shape == encoder(image, text).shape


def test_prompts_of_unequal_length_are_refused(encoder, image):
    prompts = ["Edit the person to show a happy expression", "Edit the person"]
    with pytest.raises(ValueError, match=r"different numbers of tokens.*'Edit the person'"):
        encoder(image, prompts)
