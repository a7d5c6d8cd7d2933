"""Frozen recognisers: faithful to their files, deaf to train(), open to gradients."""

import pickle

import numpy as np
import onnxruntime
import pytest
import torch

from pixelsmile.errors import UserError
from pixelsmile.models.adaface import AdaFaceNet
from pixelsmile.models.alignment import align_faces
from pixelsmile.models.plain_pickle import load_tensors
from pixelsmile.models.recognisers import adaface_recogniser, facenet_recogniser, onnx_recogniser
from tests.tiny_random import IMAGE

RECOGNISERS = ("arcface", "adaface", "facenet")
POINTS = torch.tensor([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.75], [0.65, 0.75]]) * IMAGE


@pytest.fixture
def images(generator):
    return torch.rand(3, 3, IMAGE, IMAGE, generator=generator) * 2 - 1


@pytest.fixture
def landmarks(generator):
    return POINTS + torch.randn(3, 5, 2, generator=generator)


# ---- ONNX -----------------------------------------------------------------------------------


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


def test_missing_and_damaged_recognisers_say_how_to_get_them(tmp_path):
    file = tmp_path / "antelopev2" / "glintr100.onnx"
    with pytest.raises(UserError, match=r"No weights at .*glintr100\.onnx: .*curl -L .*unzip"):
        onnx_recogniser(file)
    file.parent.mkdir()
    for content in (b"", b"no graph", b"\x08\x07"):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"cannot be read as an ONNX recogniser .*antelopev2"):
            onnx_recogniser(file)
    with pytest.raises(UserError, match=r"No weights at .*other\.onnx: check the paths"):
        onnx_recogniser(tmp_path / "other.onnx")


# ---- AdaFace --------------------------------------------------------------------------------


class Callback:
    """An object of a trainer that nobody has; `builtins.eval` would be worse."""

    def __reduce__(self):
        return eval, ("1 / 0",)


@pytest.fixture(scope="module")
def adaface_file(tmp_path_factory):
    """A checkpoint in the public layout: `model.` names, a head, and the trainer's objects."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = AdaFaceNet("ir_18")
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                torch.nn.init.uniform_(tensor, 0.5, 1.5)
            elif name.endswith("running_mean"):
                torch.nn.init.normal_(tensor, std=0.1)
    state = {f"model.{name}": value for name, value in network.state_dict().items()}
    state["head.kernel"] = torch.zeros(512, 10)
    file = tmp_path_factory.mktemp("adaface") / "adaface_ir18.ckpt"
    content = {"state_dict": state, "epoch": 3, "callbacks": {"best": Callback()}}
    torch.save(content, file)
    return file, network.eval()


def test_ir_101_has_the_structure_of_the_public_checkpoint():
    with torch.device("meta"):
        network = AdaFaceNet()
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    # 65.15 million, as AdaFace's R100 is listed; batch norm's statistics are not parameters.
    assert sum(parameter.numel() for parameter in network.parameters()) == 65_150_912
    assert len({name.split(".")[1] for name in shapes if name.startswith("body.")}) == 49
    for name, shape in (
        ("input_layer.0.weight", (64, 3, 3, 3)),
        ("input_layer.2.weight", (64,)),
        ("body.0.res_layer.1.weight", (64, 64, 3, 3)),
        ("body.3.shortcut_layer.0.weight", (128, 64, 1, 1)),
        ("body.3.shortcut_layer.1.running_var", (128,)),
        ("body.16.shortcut_layer.0.weight", (256, 128, 1, 1)),
        ("body.46.res_layer.4.weight", (512, 512, 3, 3)),
        ("body.48.res_layer.5.bias", (512,)),
        ("output_layer.0.weight", (512,)),
        ("output_layer.3.weight", (512, 512 * 7 * 7)),
        ("output_layer.4.running_mean", (512,)),
    ):
        assert shapes[name] == shape, name
    assert "output_layer.4.weight" not in shapes
    assert "body.0.shortcut_layer.0.weight" not in shapes
    assert {name.split(".")[0] for name in shapes} == {"input_layer", "body", "output_layer"}


@torch.no_grad()
def test_adaface_embeds_blue_first_faces(adaface_file, images, landmarks):
    file, network = adaface_file
    recogniser = adaface_recogniser(file, architecture="ir_18").train()
    assert not any(module.training for module in recogniser.modules())
    blue_first = align_faces(images, landmarks)[:, [2, 1, 0]]
    features = network.input_layer(blue_first)
    for unit in network.body:
        features = unit.res_layer(features) + unit.shortcut_layer(features)
    expected = torch.nn.functional.normalize(network.output_layer(features), dim=-1)
    torch.testing.assert_close(recogniser(images, landmarks), expected, atol=1e-6, rtol=1e-5)


def test_adaface_passes_gradients_to_the_image(adaface_file, images, landmarks):
    recogniser = adaface_recogniser(adaface_file[0], architecture="ir_18")
    recogniser(images.requires_grad_(), landmarks)[:, 0].sum().backward()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()
    assert not any(parameter.requires_grad for parameter in recogniser.parameters())


def test_checkpoint_of_another_architecture_is_refused(adaface_file, tmp_path):
    file, network = adaface_file
    with pytest.raises(UserError, match=r"no AdaFace checkpoint of ir_50: \d+ tensors differ"):
        adaface_recogniser(file, architecture="ir_50")
    with pytest.raises(UserError, match=r"architecture=ir_9: choose one of ir_18, ir_50, ir_101"):
        adaface_recogniser(file, architecture="ir_9")
    torch.save(network.state_dict(), tmp_path / "bare.ckpt")
    with pytest.raises(UserError, match=r"e\.g\. 'model\.body\.0"):
        adaface_recogniser(tmp_path / "bare.ckpt", architecture="ir_18")


def test_missing_and_damaged_adaface_say_how_to_get_it(adaface_file, tmp_path):
    place = tmp_path / "adaface" / "adaface_ir101_webface12m.ckpt"
    with pytest.raises(UserError, match=r"No weights at .*gdown 1dswnavflETcnAuplZj1IOKKP0eM8ITgT"):
        adaface_recogniser(place)
    place.parent.mkdir()
    for content in (b"", b"garbage", adaface_file[0].read_bytes()[:-100], pickle.dumps([1])):
        place.write_bytes(content)
        with pytest.raises(UserError, match=r"adaface_ir101_webface12m\.ckpt (cannot be|is no)"):
            adaface_recogniser(place, architecture="ir_18")


def test_nothing_in_a_checkpoint_is_run(adaface_file):
    """The fixture's callback divides by zero when it is unpickled in earnest."""
    content = load_tensors(adaface_file[0], "a checkpoint")
    assert content["epoch"] == 3
    assert content["callbacks"]["best"] == {}
    with pytest.raises(ZeroDivisionError):
        torch.load(adaface_file[0], weights_only=False)


# ---- FaceNet --------------------------------------------------------------------------------


@torch.no_grad()
def test_facenet_equals_its_own_package_on_faces_it_normalises_itself(tmp_path, images, landmarks):
    facenet = pytest.importorskip("facenet_pytorch", reason="needs the extra `real`")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = facenet.InceptionResnetV1(classify=True, num_classes=5).eval()
    file = tmp_path / "20180402-114759-vggface2.pt"
    torch.save(network.state_dict(), file)
    network.classify = False
    bytes_of_faces = (align_faces(images, landmarks, 160) + 1) * 127.5
    expected = network(facenet.fixed_image_standardization(bytes_of_faces))
    recogniser = facenet_recogniser(file)
    torch.testing.assert_close(recogniser(images, landmarks), expected, atol=1e-5, rtol=1e-4)


def test_missing_facenet_says_how_to_get_it(tmp_path):
    place = tmp_path / "facenet" / "20180402-114759-vggface2.pt"
    with pytest.raises(UserError, match=r"No weights at .*curl -L .*vggface2\.pt"):
        facenet_recogniser(place)


def test_missing_package_is_named(tmp_path, monkeypatch):
    import importlib

    file = tmp_path / "facenet.pt"
    torch.save({}, file)

    def refuse(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(UserError, match=r"pip install --no-deps facenet-pytorch"):
        facenet_recogniser(file)


@torch.no_grad()
def test_embedding_does_not_depend_on_the_precision_of_the_trainer(tiny_stack, images, landmarks):
    recogniser = onnx_recogniser(tiny_stack / "recognisers" / "arcface.onnx")
    expected = recogniser(images, landmarks)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(recogniser(images, landmarks), expected)
