"""The Python API: what it refuses, and that its parts agree with each other."""

import numpy as np
import pytest
import torch
from PIL import Image

import pixelsmile
from pixelsmile.editing import ExpressionEditor
from pixelsmile.editing.framing import edit_size
from pixelsmile.editing.rows import weights_of
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.models.backbone import Backbone
from pixelsmile.pictures import to_uint8
from tests.tiny_random import IMAGE, SETTINGS, compose


@pytest.fixture(scope="module")
def config(tiny_stack):
    return compose(f"model.weights={tiny_stack}", *SETTINGS)


@pytest.fixture(scope="module")
def editor(config):
    return ExpressionEditor.from_config(config, batch_size=5)


@pytest.fixture(scope="module")
def face():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((70, 90), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def source(editor, face):
    return editor.encode(face, size=(IMAGE, IMAGE))


def array(picture):
    return np.asarray(picture).astype(int)


def test_the_package_offers_the_editor_without_importing_it():
    assert pixelsmile.ExpressionEditor is ExpressionEditor
    with pytest.raises(AttributeError, match="no attribute 'Editor'"):
        _ = pixelsmile.Editor


def test_edit_is_the_blend_of_one_and_a_cell_of_the_sweep(editor, face, source):
    edited = editor.edit(source, "Surprise", strength=0.5, seed=3)
    assert edited.size == (IMAGE, IMAGE)
    blended = editor.blend(source, {"surprised": 0.25, "neutral": 5.0}, strength=2.0, seed=3)
    assert (array(edited) == array(blended)).all()
    sweep = editor.sweep(source, ["happy", "surprised"], (1.0, 0.5), seed=3)
    assert sweep.expressions == ("happy", "surprised")
    assert sweep.strengths == (1.0, 0.5)
    # batches of other sizes round differently, by one step of 8 bits at most
    assert np.abs(array(sweep.images[1][1]) - array(edited)).max() <= 1
    assert (array(sweep.images[0][0]) != array(sweep.images[0][1])).any()


def test_blend_is_a_weighted_sum_of_directions_over_neutral(editor, source):
    row = weights_of({"happy": 0.6, "sad": -0.4})
    pixels = editor.render(source, row[None], seed=1)
    neutral, tail = source.neutral, source.neutral[-source.suffixes.shape[1] :]
    happy, sad = (source.suffixes[EXPRESSIONS.index(name)] for name in ("happy", "sad"))
    text = neutral.clone()
    text[-len(tail) :] = tail + 0.6 * (happy - tail) - 0.4 * (sad - tail)
    by_hand = type(source)(source.image, source.latent, text, text[-len(tail) :].expand(12, -1, -1))
    expected = editor.render(by_hand, torch.zeros(1, 12), seed=1)
    torch.testing.assert_close(pixels, expected, atol=1e-5, rtol=0)


def test_grid_shows_the_source_and_every_picture(editor, source):
    sweep = editor.sweep(source, ["fear"], (0.0, 1.0))
    grid = np.asarray(sweep.grid())
    height, width, _ = grid.shape
    body = grid[height - IMAGE :, width - 3 * IMAGE :]
    expected = [sweep.source, *sweep.images[0]]
    assert (body == np.concatenate([np.asarray(x) for x in expected], axis=1)).all()
    assert (np.asarray(sweep.source) == to_uint8(source.image)).all()


def test_the_shape_of_a_picture_is_kept_unless_a_size_is_given(editor, face):
    height, width = edit_size(*face.size, IMAGE)
    assert height > width  # as the face is taller than wide
    assert editor.edit(face, "happy").size == (width, height)


def test_lists_without_an_expression_or_strength_are_refused(editor, source):
    with pytest.raises(UserError, match="expressions is empty"):
        editor.sweep(source, [])
    with pytest.raises(UserError, match="strengths is empty"):
        editor.sweep(source, ["happy"], [])


def test_any_aspect_ratio_in_multiples_of_16(editor, face):
    source = editor.encode(face, size=(96, 48))
    pixels = editor.render(source, torch.zeros(1, 12))
    assert pixels.shape == (1, 3, 96, 48)
    assert source.image.shape == (3, 96, 48)


def test_the_image_and_its_prompts_are_encoded_once(editor, face, monkeypatch):
    calls = []
    encoder = editor.text_encoder.text_encoder.model
    monkeypatch.setattr(
        encoder.visual,
        "forward",
        lambda *a, f=encoder.visual.forward, **k: calls.append(1) or f(*a, **k),
    )
    rows = []
    language = encoder.language_model
    monkeypatch.setattr(
        language,
        "forward",
        lambda *a, f=language.forward, **k: rows.append(len(k["inputs_embeds"])) or f(*a, **k),
    )
    editor.sweep(face, ["happy", "sad"])
    assert calls == [1]
    assert rows == [1, 13]  # the shared beginning, then 13 endings


def test_fast_pictures_stay_near_the_exact_ones(editor, source):
    rows = torch.stack([s * weights_of({"happy": 1.0}) for s in (0.0, 0.5, 1.0)])
    exact, fast = (editor.render(source, rows, speed=speed) for speed in ("exact", "fast"))
    assert fast.shape == exact.shape
    assert (fast - exact).abs().mean() < 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e, s: e.edit(s, "joyful"), "Unknown expression 'joyful': choose one of angry"),
        (lambda e, s: e.edit("no.png", "happy"), "Image no.png is missing"),
        (lambda e, s: e.edit(3, "happy"), "The image is a int: give a PIL image or the path"),
        (
            lambda e, s: e.edit(s, "happy", speed="slow"),
            "Unknown speed 'slow': choose one of draft, exact",
        ),
        (lambda e, s: e.edit(s, "happy", strength=float("nan")), "nan or inf: give finite"),
        (lambda e, s: e.sweep(s, strengths=()), "strengths is empty: give at least one"),
        (lambda e, s: e.render(s, torch.zeros(3)), r"shape \(3,\): give one row of 12"),
        (lambda e, s: e.encode(s.image, (16, 16)), "The image is a Tensor"),
        (lambda e, s: e.encode(Image.new("RGB", (8, 8)), (50, 64)), "in multiples of 16"),
    ],
)
def test_mistakes_become_one_sentence(editor, source, call, message):
    with pytest.raises(UserError, match=message):
        call(editor, source)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "huge"}, "No model 'huge': choose one of qwen_image_edit_2511, tiny, or give"),
        ({"domain": "cats"}, "Unknown domain 'cats': choose one of human, anime"),
        ({"lora": "nowhere"}, "No LoRA file at nowhere"),
        ({"num_steps": 1}, "num_steps=1: give 2 steps or more"),
        ({"image_size": 100}, "in multiples of 16"),
        ({"batch_size": 0}, "batch_size=0: give 1 or more"),
        ({"device": "abacus"}, "device=abacus: "),
        ({"dtype": "float3"}, "dtype=float3: choose one of float32, bfloat16, float16"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        ExpressionEditor.from_pretrained(**{"model": "tiny", **settings})


def test_a_pipeline_folder_is_a_model(tiny_stack, config, source, editor):
    loaded = ExpressionEditor.from_pretrained(
        tiny_stack / "pipeline", num_steps=2, image_size=IMAGE, text_size=56, dtype="float32"
    )
    assert loaded.identity == editor.identity
    rows = torch.zeros(1, 12)
    assert torch.equal(loaded.render(source, rows), editor.render(source, rows))


@pytest.fixture(scope="module")
def lora(tiny_stack, tmp_path_factory):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = Backbone.from_pretrained(tiny_stack / "pipeline" / "transformer", rank=3)
        for name, parameter in backbone.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    folder = tmp_path_factory.mktemp("lora")
    backbone.save_adapter(folder)
    return folder


def test_a_lora_of_any_rank_changes_pictures_and_identity(config, editor, source, lora):
    adapted = ExpressionEditor.from_config(config, lora=lora)
    rows = torch.zeros(1, 12)
    gap = (adapted.render(source, rows) - editor.render(source, rows)).abs().max()
    assert gap > 0.01
    assert adapted.identity != editor.identity
    assert ExpressionEditor.from_config(config, lora=lora).identity == adapted.identity


def test_a_fused_lora_equals_one_beside_the_weights(editor, config, source, lora):
    from pixelsmile.lora import read_adapter
    from pixelsmile.models.denoiser import Denoiser

    numbers = torch.Generator().manual_seed(4)
    noisy = torch.randn(1, *source.latent.shape, generator=numbers)
    results = []
    for fuse in (True, False):
        denoiser = Denoiser.from_pretrained(config.model.backbone.folder)
        denoiser.add_lora(read_adapter(lora), fuse=fuse)
        with torch.no_grad():
            results.append(
                denoiser(noisy, torch.ones(1), source.latent[None], source.neutral[None].float())
            )
    torch.testing.assert_close(*results, atol=1e-4, rtol=1e-4)


def test_a_lora_of_another_base_is_refused(config, lora):
    from pixelsmile.lora import read_adapter
    from pixelsmile.models.denoiser import Denoiser

    denoiser = Denoiser.from_pretrained(config.model.backbone.folder)
    adapter = read_adapter(lora)
    wrong = {name.replace("blocks.0", "blocks.7"): x for name, x in adapter.layers.items()}
    with pytest.raises(UserError, match=r"does not fit this transformer at 'transformer_blocks\.7"):
        denoiser.add_lora(type(adapter)(wrong), fuse=True)
