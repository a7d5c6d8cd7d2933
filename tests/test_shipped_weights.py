"""The weights that ship with the project are small, load in stock classes and do their work."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLQwenImage, QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as stock
from PIL import Image

import pixelsmile.faces.tiny
from pixelsmile.expressions import EXPRESSIONS, index, prompt
from pixelsmile.faces.anime import AnimeFaces
from pixelsmile.faces.base import RESERVED_SEED
from pixelsmile.faces.human import HumanFaces
from pixelsmile.judges import LocalJudge
from pixelsmile.models.alignment import align_faces
from pixelsmile.models.autoencoder import Autoencoder
from pixelsmile.models.encoders import open_clip_encoder
from pixelsmile.models.recognisers import onnx_recogniser
from pixelsmile.stack import build_module
from tests.tiny_random import compose

WEIGHTS = Path(pixelsmile.faces.tiny.__file__).parent / "weights"
RECOGNISERS = ("arcface", "adaface", "facenet")
PEOPLE = range(RESERVED_SEED + 500, RESERVED_SEED + 504)
MEGABYTE = 2**20


pytestmark = pytest.mark.skipif(
    not WEIGHTS.is_dir(), reason="pixelsmile/faces/tiny/weights is not there: rebuild or pull it"
)


@pytest.fixture(scope="module")
def renders():
    """Per domain: images at full strength, (P, 12, 3, 128, 128), neutral ones, and landmarks."""
    drawn = {}
    for generator in (HumanFaces(), AnimeFaces()):
        faces = [[generator.render(s, {name: 1.0}) for name in EXPRESSIONS] for s in PEOPLE]
        still = [generator.render(s, {}) for s in PEOPLE]
        drawn[generator.domain] = {
            "images": torch.stack([torch.stack([_tensor(f) for f in row]) for row in faces]),
            "neutral": torch.stack([_tensor(face) for face in still]),
            "landmarks": torch.tensor(np.array([face.landmarks for face in still])).float(),
            "picture": still[0].image,
        }
    return drawn


def _tensor(face):
    return torch.from_numpy(face.image.copy()).permute(2, 0, 1).float() / 127.5 - 1


def test_folder_is_small_enough_to_ship():
    sizes = {path: path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()}
    assert sum(sizes.values()) <= 24 * MEGABYTE
    assert WEIGHTS / "README.md" in sizes


@pytest.mark.slow
def test_stock_pipeline_loads_and_edits(renders, monkeypatch):
    monkeypatch.setattr(stock, "VAE_IMAGE_SIZE", 128 * 128)
    monkeypatch.setattr(stock, "CONDITION_IMAGE_SIZE", 64 * 64)
    pipeline = QwenImageEditPlusPipeline.from_pretrained(WEIGHTS / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    source = Image.fromarray(renders["human"]["picture"])

    def edit(word):
        edited = pipeline(
            image=source,
            prompt=prompt(word, "human"),
            height=128,
            width=128,
            num_inference_steps=4,
            true_cfg_scale=1.0,
            generator=torch.Generator().manual_seed(0),
        ).images[0]
        return np.asarray(edited, dtype=float)

    still, happy = edit("neutral"), edit("happy")
    original = np.asarray(source, dtype=float)
    assert np.abs(still - original).mean() < 25  # of 255: the same person, not noise
    assert np.abs(happy - still).mean() > 0.5


def test_vae_gives_a_single_frame_the_numbers_of_stock_and_keeps_the_face(renders):
    vae = AutoencoderKLQwenImage.from_pretrained(WEIGHTS / "pipeline" / "vae").eval()
    mean, std = (
        torch.tensor(values).view(1, -1, 1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    images = renders["human"]["neutral"][:1]
    autoencoder = Autoencoder.from_pretrained(WEIGHTS / "pipeline" / "vae")
    with torch.no_grad():
        mode = vae.encode(images.unsqueeze(2)).latent_dist.mode()
        decoded = vae.decode(mode).sample.squeeze(2)
        latents = autoencoder.encode(images)
        torch.testing.assert_close(latents, ((mode - mean) / std).squeeze(2), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(autoencoder.decode(latents), decoded, atol=1e-4, rtol=1e-4)
    assert (decoded - images).abs().mean() < 0.1
    assert 0.3 < latents.std() < 3  # statistics of the latents were measured


@pytest.mark.parametrize("domain", ["human", "anime"])
def test_judge_reads_full_strength_renders(renders, domain):
    judge = LocalJudge.from_pretrained(WEIGHTS / "judge")
    scores = judge.score(renders[domain]["images"].flatten(0, 1))
    right = scores.argmax(-1) == torch.arange(12).repeat(len(PEOPLE))
    assert right.float().mean() >= 0.95
    assert judge.score(renders[domain]["neutral"]).max() < 0.5


@pytest.mark.parametrize("name", RECOGNISERS)
def test_recogniser_is_the_same_in_onnxruntime_and_torch(renders, name):
    file = WEIGHTS / "recognisers" / f"{name}.onnx"
    drawn = renders["human"]
    faces = align_faces(drawn["neutral"], drawn["landmarks"]).numpy()
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    expected = F.normalize(torch.from_numpy(session.run(None, {"faces": faces})[0]), dim=-1)
    actual = onnx_recogniser(file)(drawn["neutral"], drawn["landmarks"])
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("domain", ["human", "anime"])
@pytest.mark.parametrize("name", RECOGNISERS)
def test_same_person_is_nearer_than_another(renders, name, domain):
    drawn, recogniser = renders[domain], onnx_recogniser(WEIGHTS / "recognisers" / f"{name}.onnx")
    words = [index("happy"), index("sad"), index("surprised")]
    shown = drawn["images"][:, words].flatten(0, 1)
    landmarks = drawn["landmarks"].repeat_interleave(len(words), 0)
    cosines = recogniser(drawn["neutral"], drawn["landmarks"]) @ recogniser(shown, landmarks).T
    same = torch.eye(len(PEOPLE)).repeat_interleave(len(words), 1).bool()
    assert cosines[same].mean() > cosines[~same].mean() + 0.2


@torch.no_grad()
def test_clip_tells_confusing_expressions_apart(renders):
    encoder = open_clip_encoder(WEIGHTS / "clip", projected=True)
    features = encoder(renders["human"]["images"].flatten(0, 1)).unflatten(0, (len(PEOPLE), 12))
    for pair in (("fear", "surprised"), ("angry", "disgust")):
        first, second = (features[:, index(name)] for name in pair)
        others = ~torch.eye(len(PEOPLE), dtype=torch.bool)  # two people, the same or not the same
        within = (first @ first.T)[others].mean()
        assert within > (first @ second.T)[others].mean(), pair


def test_default_configuration_builds_the_module():
    module = build_module(compose("name=test"))
    assert len(module.scorer.recognisers) == 3
    assert module.sigmas.tolist()[0] == 1
    assert module.sigmas.tolist()[-1] == 0
