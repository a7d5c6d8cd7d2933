"""Recognisers: heads against their formulas, ONNX against torch, areas against counting."""

import math

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from pixelsmile.faces.tiny.recogniser_networks import EMBEDDING
from pixelsmile.faces.tiny.recogniser_training import (
    RECOGNISERS,
    AdaHead,
    ArcHead,
    CentreHead,
    align_all,
    area_under_curve,
    export,
    train_recognisers,
)
from pixelsmile.faces.tiny.renders import join, judge_plan, render_set
from pixelsmile.faces.tiny.training import Recipe
from pixelsmile.models.recognisers import onnx_recogniser
from tests.faces.fakes import FakeFaces


@pytest.fixture
def embeddings(generator):
    return torch.randn(5, EMBEDDING, generator=generator)


@pytest.fixture
def wanted():
    return torch.tensor([0, 2, 1, 1, 3])


@pytest.fixture(params=sorted(RECOGNISERS))
def network(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = RECOGNISERS[request.param][0]()
        with torch.no_grad():
            for weight in network.state_dict().values():  # fresh norms are alike, trained are not
                if weight.ndim == 1:
                    weight += 0.05 * torch.rand_like(weight)
        return network.eval()


@pytest.mark.parametrize("head_type", [ArcHead, AdaHead, CentreHead])
def test_without_a_margin_every_head_is_a_softmax_over_cosines(head_type, embeddings, wanted):
    head = head_type(4)
    cosines = F.normalize(embeddings) @ F.normalize(head.centres).T
    expected = F.cross_entropy(24 * cosines, wanted)
    torch.testing.assert_close(head(embeddings, wanted, 0.0), expected, atol=1e-4, rtol=1e-4)


def test_arc_margin_adds_its_angle_to_the_right_class(embeddings, wanted):
    head = ArcHead(4, margin=0.3)
    loss = head(embeddings, wanted, 1.0)
    cosines = (F.normalize(embeddings) @ F.normalize(head.centres).T).detach().numpy()
    losses = []
    for row, right in zip(cosines, wanted.tolist(), strict=True):
        row = row.copy()
        row[right] = math.cos(math.acos(row[right]) + 0.3)
        losses.append(np.log(np.exp(24 * row).sum()) - 24 * row[right])
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_ada_margin_asks_more_of_long_embeddings(embeddings, wanted):
    unit = 10 * F.normalize(embeddings)
    head = AdaHead(4)
    losses = []
    for length in (0.5, 1.0, 2.0):
        head.mean.fill_(10.0)
        head.deviation.fill_(2.0)
        losses.append(head(length * unit, wanted, 1.0).item())
    assert losses[0] < losses[1] < losses[2]


def test_centre_pull_vanishes_at_the_centre(wanted):
    head = CentreHead(4)
    at_centre = 3 * head.centres.detach()[wanted]
    pulled, free = head(at_centre, wanted, 1.0), head(at_centre, wanted, 0.0)
    torch.testing.assert_close(pulled, free, atol=1e-4, rtol=0)


def test_exported_network_agrees_in_onnxruntime_and_onnx2torch(network, tmp_path, generator):
    file = tmp_path / "network.onnx"
    export(network, file)
    faces = 2 * torch.rand(3, 3, 112, 112, generator=generator) - 1
    with torch.no_grad():
        expected = network(faces)
        converted = onnx_recogniser(file).network(faces)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (run,) = session.run(None, {"faces": faces.numpy()})
    np.testing.assert_allclose(run, expected.numpy(), atol=1e-4)
    torch.testing.assert_close(converted, expected, atol=1e-4, rtol=0)
    operations = {node.op_type for node in onnx.load(str(file)).graph.node}
    assert "Reshape" not in operations


def test_networks_have_at_most_300_000_parameters(network):
    assert sum(weight.numel() for weight in network.parameters()) <= 300_000


def test_area_is_the_share_of_pairs_in_order(generator):
    positive = torch.randint(0, 9, (20,), generator=generator).numpy()
    negative = torch.randint(0, 6, (30,), generator=generator).numpy()
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert area_under_curve(positive, negative) == pytest.approx(np.mean(pairs))


def test_aligned_faces_have_their_landmarks_on_the_template(tmp_path):
    images, labels = render_set(
        FakeFaces(), range(3000, 3001), judge_plan, tmp_path / "set", workers=1
    )
    images = images.copy()
    x, y = labels.landmarks[0, 2].round().astype(int)
    images[0] = 0
    images[0, y - 3 : y + 4, x - 3 : x + 4] = 255
    face = align_all(images, labels)[0].astype(float).sum(-1)
    rows, columns = np.nonzero(face > face.max() / 2)
    assert abs(columns.mean() - 56.0) < 3
    assert abs(rows.mean() - 71.7) < 6


@pytest.mark.slow
def test_recognisers_learn_whom_they_see_and_measure_strangers(tmp_path):
    sets = [
        render_set(FakeFaces(domain), range(3000, 3040), judge_plan, tmp_path / domain, workers=1)
        for domain in ("human", "anime")
    ]
    results = train_recognisers(*join(sets), tmp_path / "onnx", Recipe(steps=15, batch_size=32))
    assert {file.name for file in (tmp_path / "onnx").iterdir()} == {
        "arcface.onnx",
        "adaface.onnx",
        "facenet.onnx",
    }
    for result in results.values():
        assert result["steps"] == 15
        assert result["human/identities"] == 2
        assert result["human/auc"] > 0.9
