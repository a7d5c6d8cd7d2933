"""The untrained tiny pipeline behaves as the real one where the project relies on it."""

import numpy as np
import pytest
import torch
from diffusers import QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as stock
from PIL import Image

from pixelsmile.expressions import DOMAINS, EXPRESSIONS, NEUTRAL, prompt
from pixelsmile.faces.tiny.architectures import (
    build_pipeline,
    save_part,
    tiny_autoencoder,
    tiny_processor,
    tiny_text_encoder,
    tiny_transformer,
)
from pixelsmile.faces.tiny.tokenizer import PICTURE, chat_template, edit_prompts, tiny_tokenizer

WORDS = (*EXPRESSIONS, NEUTRAL)


@pytest.fixture(scope="session")
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "pipeline"
    build_pipeline(folder, layers=2, heads=2)
    return folder


@pytest.fixture
def image():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((128, 128))


def tokens(tokenizer, text):
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


def test_template_before_the_picture_is_the_64_tokens_the_pipeline_drops(tokenizer):
    head, tail = chat_template().format(PICTURE + "Edit").split("Picture")
    assert len(tokens(tokenizer, head)) == 64
    assert tokens(tokenizer, head + "Picture" + tail)[64] == "Picture"


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("word", WORDS)
def test_each_expression_word_is_one_token_seven_before_the_end(tokenizer, word, domain):
    pieces = tokens(tokenizer, chat_template().format(PICTURE + prompt(word, domain)))
    assert pieces[-7] == f"Ġ{word}"
    assert pieces[-6:] == ["Ġexpression", "<|im_end|>", "Ċ", "<|im_start|>", "assistant", "Ċ"]


def test_all_prompts_have_the_same_number_of_tokens(tokenizer):
    texts = [chat_template().format(PICTURE + text) for text in edit_prompts()]
    assert len(texts) == 26
    assert {len(tokens(tokenizer, text)) for text in texts} == {64 + 20 + 1}


def test_training_the_tokenizer_again_gives_the_same_vocabulary(tokenizer):
    assert tiny_tokenizer().get_vocab() == tokenizer.get_vocab()
    assert len(tokenizer) < 600


def test_text_states_tell_the_expressions_apart_and_only_after_the_word(tokenizer, image):
    processor = tiny_processor(tokenizer)
    encoder = tiny_text_encoder(tokenizer, seed=2)
    states = []
    for word in WORDS:
        text = chat_template().format(PICTURE + prompt(word, "human"))
        inputs = processor(text=[text], images=[image], return_tensors="pt")
        with torch.no_grad():
            states.append(encoder(**inputs, output_hidden_states=True).hidden_states[-1][0])
    states = torch.stack(states)  # K x L x D
    assert (states[:, :-7] == states[:1, :-7]).all()
    assert 0.8 < states.pow(2).mean().sqrt() < 1.2
    unit = torch.nn.functional.normalize(states[:, -7:].flatten(1), dim=-1)
    cosines = unit @ unit.T - 2 * torch.eye(len(WORDS))
    assert cosines.max() < 0.8


def test_stock_diffusers_loads_the_folder_in_float32_and_edits(pipeline_folder, image, monkeypatch):
    monkeypatch.setattr(stock, "VAE_IMAGE_SIZE", 128 * 128)
    monkeypatch.setattr(stock, "CONDITION_IMAGE_SIZE", 64 * 64)
    pipeline = QwenImageEditPlusPipeline.from_pretrained(pipeline_folder)
    parts = (pipeline.transformer, pipeline.vae, pipeline.text_encoder)
    assert {part.dtype for part in parts} == {torch.float32}
    assert pipeline.transformer.config.zero_cond_t

    def edit(word):
        generator = torch.Generator().manual_seed(0)
        return np.asarray(
            pipeline(
                image=image,
                prompt=prompt(word, "human"),
                height=128,
                width=128,
                num_inference_steps=2,
                true_cfg_scale=1.0,
                generator=generator,
            ).images[0]
        )

    happy = edit("happy")
    assert happy.shape == (128, 128, 3)
    assert happy.std() > 1
    assert (edit("happy") == happy).all()
    assert (edit("sad") != happy).any()


@pytest.mark.parametrize("make", [tiny_transformer, tiny_autoencoder])
def test_weights_depend_on_the_seed_alone(make):
    torch.manual_seed(1)
    first = make(3).state_dict()
    torch.manual_seed(2)
    again, other = make(3).state_dict(), make(4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_saved_part_replaces_the_fresh_one_and_keeps_its_own_precision(pipeline_folder):
    trained = tiny_autoencoder(9)
    trained.register_to_config(latents_mean=[0.5] * 16, latents_std=[2.0] * 16)
    save_part(trained, pipeline_folder / "vae")
    loaded = QwenImageEditPlusPipeline.from_pretrained(pipeline_folder).vae
    assert next(trained.parameters()).dtype == torch.float32
    assert loaded.config.latents_mean == [0.5] * 16
    for name, weight in trained.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], weight.half().float(), msg=name)
