"""Frozen encoders and recognisers: faithful to their files, deaf to train(), open to gradients."""

import json

import numpy as np
import onnxruntime
import open_clip
import pytest
import torch
from torch import nn

from pixelsmile.models.alignment import align_faces
from pixelsmile.models.encoders import FrozenImageEncoder, open_clip_encoder
from pixelsmile.models.recognisers import onnx_recogniser
from tests.tiny_random import IMAGE

RECOGNISERS = ("arcface", "adaface", "facenet")
POINTS = torch.tensor([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.75], [0.65, 0.75]]) * IMAGE


@pytest.fixture
def images(generator):
    return torch.rand(3, 3, IMAGE, IMAGE, generator=generator) * 2 - 1


@pytest.fixture
def landmarks(generator):
    return POINTS + torch.randn(3, 5, 2, generator=generator)


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


def test_missing_clip_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No CLIP weights at .*model\.encoder\.folder"):
        open_clip_encoder(tmp_path / "none")


def test_resnet_without_projection_is_refused(tiny_stack):
    with pytest.raises(ValueError, match=r"model\.encoder\.projected=true"):
        open_clip_encoder(tiny_stack / "clip")


# ---- recognisers ----------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("name", RECOGNISERS)
def test_recogniser_equals_onnxruntime_on_aligned_faces(tiny_stack, name, images, landmarks):
    file = tiny_stack / "recognisers" / f"{name}.onnx"
    faces = align_faces(images, landmarks).numpy()
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"faces": faces})
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    recogniser = onnx_recogniser(file)
    np.testing.assert_allclose(recogniser(images, landmarks).numpy(), expected, atol=1e-4)
    assert recogniser.name == name


@pytest.mark.parametrize("name", RECOGNISERS)
def test_recogniser_passes_gradients_to_the_image_and_stays_frozen(
    tiny_stack, name, images, landmarks
):
    recogniser = onnx_recogniser(tiny_stack / "recognisers" / f"{name}.onnx").train()
    assert not any(module.training for module in recogniser.modules())
    assert not any(parameter.requires_grad for parameter in recogniser.parameters())
    recogniser(images.requires_grad_(), landmarks)[:, 0].sum().backward()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()


@torch.no_grad()
def test_embedding_does_not_depend_on_the_rest_of_the_batch(tiny_stack, images, landmarks):
    recogniser = onnx_recogniser(tiny_stack / "recognisers" / "arcface.onnx").train()
    whole = recogniser(images, landmarks)
    for i in range(3):
        single = recogniser(images[i : i + 1], landmarks[i : i + 1])
        torch.testing.assert_close(single, whole[i : i + 1], atol=1e-5, rtol=1e-4)


def test_missing_recogniser_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No recogniser at .*none\.onnx"):
        onnx_recogniser(tmp_path / "none.onnx")
