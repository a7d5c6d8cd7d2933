"""Frozen encoders: faithful to their files, deaf to train(), open to gradients."""

import json
import shutil

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPVisionModel

from pixelsmile.errors import UserError
from pixelsmile.models.encoders import (
    FrozenImageEncoder,
    open_clip_encoder,
    transformers_clip_encoder,
)
from tests.tiny_random import IMAGE


@pytest.fixture
def images(generator):
    return torch.rand(3, 3, IMAGE, IMAGE, generator=generator) * 2 - 1


@pytest.fixture(scope="module")
def encoder(tiny_stack):
    return open_clip_encoder(tiny_stack / "clip", projected=True)


# ---- image encoder --------------------------------------------------------------------------


@torch.no_grad()
def test_feature_equals_open_clip_on_images_it_normalises_itself(encoder, tiny_stack, images):
    """The tiny statistics are 0.5, so its normalised image is the one in [-1, 1] again."""
    settings = json.loads((tiny_stack / "clip" / "open_clip_config.json").read_text())
    assert settings["preprocess_cfg"] == {"mean": [0.5] * 3, "std": [0.5] * 3}
    model = open_clip.create_model(f"local-dir:{tiny_stack / 'clip'}").eval()
    expected = model.encode_image(images, normalize=True)
    torch.testing.assert_close(encoder(images), expected, atol=1e-5, rtol=1e-5)


def test_image_is_resized_and_normalised_with_the_given_statistics(generator):
    seen = []

    class Tower(nn.Module):
        def forward(self, pixels):
            seen.append(pixels)
            return pixels.flatten(1)

    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    encoder = FrozenImageEncoder(Tower(), mean, std, size=8)
    colour = torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1)
    feature = encoder(colour.expand(2, 3, 20, 20))
    expected = torch.tensor([(v - m) / s for v, m, s in zip((0, 0.5, 1), mean, std, strict=True)])
    torch.testing.assert_close(seen[0], expected.view(1, 3, 1, 1).expand(2, 3, 8, 8))
    torch.testing.assert_close(feature.norm(dim=-1), torch.ones(2))


def test_gradients_reach_the_image_and_no_weight(encoder, images):
    encoder(images.requires_grad_())[:, 0].sum().backward()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_train_does_not_wake_the_encoder(encoder, images):
    before = encoder(images)
    encoder.train()
    assert not any(module.training for module in encoder.modules())
    assert torch.equal(encoder(images), before)


def test_missing_and_damaged_clips_are_refused_with_the_command_to_get_them(tmp_path, vit):
    file = tmp_path / "clip-vit-l-14" / "open_clip_model.safetensors"
    with pytest.raises(UserError, match=r"No weights at .*hf download timm/vit_large_patch14"):
        open_clip_encoder(file, architecture="ViT-L-14-quickgelu")
    file.parent.mkdir()
    file.write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"cannot be read as open_clip weights .*hf download timm"):
        open_clip_encoder(file, architecture="ViT-small-test")
    with pytest.raises(UserError, match=r"architecture=ViT-XXL is unknown to open_clip"):
        open_clip_encoder(file, architecture="ViT-XXL")
    with pytest.raises(UserError, match=r"No weights at .*hf download OysterQAQ/DanbooruCLIP"):
        transformers_clip_encoder(tmp_path / "DanbooruCLIP")


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """A small ViT of open_clip as a file of weights, and the name of its architecture."""
    folder = tmp_path_factory.mktemp("vit")
    config = {
        "embed_dim": 12,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 56, "layers": 2, "width": 32, "head_width": 16,
                       "patch_size": 14},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2,
                     "layers": 1},
    }  # fmt: skip
    (folder / "ViT-small-test.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.create_model("ViT-small-test").eval()
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder / "open_clip_model.safetensors", model


@torch.no_grad()
def test_vit_from_a_file_equals_open_clip_with_its_own_preprocessing(vit, generator):
    """At its own size the library neither resizes nor crops; 8 bits make both see the same."""
    file, model = vit
    pixels = torch.randint(0, 256, (2, 56, 56, 3), generator=generator, dtype=torch.uint8)
    preprocess = image_transform_v2(PreprocessCfg(size=56), is_train=False)
    inputs = torch.stack([preprocess(Image.fromarray(image.numpy())) for image in pixels])
    images = pixels.permute(0, 3, 1, 2) / 127.5 - 1
    whole = open_clip_encoder(file, architecture="ViT-small-test", projected=True)
    expected = model.encode_image(inputs, normalize=True)
    torch.testing.assert_close(whole(images), expected, atol=1e-5, rtol=1e-5)
    pooled = open_clip_encoder(file, architecture="ViT-small-test")(images)
    assert pooled.shape == (2, 32)
    projected = torch.nn.functional.normalize(pooled @ model.visual.proj, dim=-1)
    torch.testing.assert_close(projected, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_bicubic_comes_near_the_preprocessing_of_open_clip_at_other_sizes(vit):
    file, model = vit
    rows, columns = np.mgrid[:112, :112] / 112
    smooth = np.stack([rows, columns, np.sin(9 * rows * columns) ** 2], -1)
    pixels = (255 * smooth).astype(np.uint8)
    preprocess = image_transform_v2(PreprocessCfg(size=56), is_train=False)
    expected = model.encode_image(preprocess(Image.fromarray(pixels))[None], normalize=True)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    encoder = open_clip_encoder(
        file, architecture="ViT-small-test", projected=True, interpolation="bicubic"
    )
    assert (encoder(images) * expected).sum() > 0.9999


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """A small CLIP as transformers saves it, with statistics of its own."""
    folder = tmp_path_factory.mktemp("clip") / "DanbooruCLIP"
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
             "num_attention_heads": 2}  # fmt: skip
    config = CLIPConfig(
        text_config={**sizes, "vocab_size": 99},
        vision_config={**sizes, "image_size": 56, "patch_size": 14},
        projection_dim=12,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor(
        image_mean=[0.4, 0.5, 0.6],
        image_std=[0.2, 0.3, 0.25],
        size={"shortest_edge": 56},
        crop_size={"height": 56, "width": 56},
    ).save_pretrained(folder)
    return folder


@torch.no_grad()
def test_transformers_clip_equals_transformers_with_its_own_preprocessing(clip_folder, generator):
    pixels = torch.randint(0, 256, (2, 56, 56, 3), generator=generator, dtype=torch.uint8)
    processor, model = (
        kind.from_pretrained(clip_folder) for kind in (CLIPImageProcessor, CLIPModel)
    )
    inputs = processor([Image.fromarray(image.numpy()) for image in pixels], return_tensors="pt")
    pooled = model.vision_model(**inputs).pooler_output
    images = pixels.permute(0, 3, 1, 2) / 127.5 - 1
    for projected, expected in ((False, pooled), (True, model.visual_projection(pooled))):
        encoder = transformers_clip_encoder(clip_folder, projected=projected)
        expected = torch.nn.functional.normalize(expected, dim=-1)
        torch.testing.assert_close(encoder(images), expected, atol=1e-5, rtol=1e-5)


def test_transformers_clip_passes_gradients_to_the_image(clip_folder, images):
    encoder = transformers_clip_encoder(clip_folder).train()
    assert not any(module.training for module in encoder.modules())
    encoder(images.requires_grad_())[:, 0].sum().backward()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()


def test_clip_that_lacks_a_part_is_refused_instead_of_filled_with_noise(clip_folder, tmp_path):
    CLIPVisionModel.from_pretrained(clip_folder).save_pretrained(tmp_path / "vision")
    assert transformers_clip_encoder(tmp_path / "vision").size == 56
    with pytest.raises(UserError, match=r"lacks 1 tensors.*visual_projection.*projected=false"):
        transformers_clip_encoder(tmp_path / "vision", projected=True)
    weights = load_file(clip_folder / "model.safetensors")
    broken = tmp_path / "broken"
    shutil.copytree(clip_folder, broken)
    (broken / "model.safetensors").write_bytes(
        (clip_folder / "model.safetensors").read_bytes()[:-9]
    )
    with pytest.raises(UserError, match=r"cannot be read as a CLIP of transformers"):
        transformers_clip_encoder(broken)
    save_file(
        {k: v for k, v in weights.items() if "vision_model.encoder.layers.1.mlp.fc1.bias" not in k},
        broken / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(UserError, match=r"lacks 1 tensors of the vision tower"):
        transformers_clip_encoder(broken)


@torch.no_grad()
def test_feature_of_an_image_does_not_depend_on_the_precision_of_the_trainer(encoder, images):
    """Targets are encoded in float32, outside of the trainer's autocast."""
    expected = encoder(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder(images), expected)


def test_resnet_without_projection_is_refused(tiny_stack):
    with pytest.raises(ValueError, match=r"model\.encoder\.projected=true"):
        open_clip_encoder(tiny_stack / "clip")
