"""Alignment agrees with Umeyama's method and with scipy's interpolation."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from pixelsmile.faces.anime import AnimeFaces
from pixelsmile.faces.human import HumanFaces
from pixelsmile.models.alignment import (
    ARCFACE_TEMPLATE,
    TEMPLATE_SIZE,
    align_faces,
    similarity_matrix,
)


def umeyama(source, target):
    """The least-squares similarity by singular values (Umeyama 1991, Eqs. 39 to 43)."""
    mean_s, mean_t = source.mean(0), target.mean(0)
    s, t = source - mean_s, target - mean_t
    u, d, v = np.linalg.svd(t.T @ s / len(s))
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(v))])
    rotation = u @ np.diag(sign) @ v
    scale = (d * sign).sum() / s.var(0).sum()
    return np.column_stack([scale * rotation, mean_t - scale * rotation @ mean_s])


@pytest.fixture
def landmarks():
    """Three noisy faces of different size, place and tilt."""
    rng = np.random.default_rng(0)
    faces = []
    for scale, angle in ((0.5, 0.0), (0.9, 0.4), (1.3, -0.3)):
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = (ARCFACE_TEMPLATE.numpy() - 56) @ turn.T + 64 + rng.normal(0, 2, 2)
        faces.append(points + rng.normal(0, 1.5, (5, 2)))
    return torch.tensor(np.stack(faces), dtype=torch.float32)


@pytest.fixture
def images(generator):
    return torch.rand(3, 3, 128, 120, generator=generator) * 2 - 1


def test_similarity_equals_umeyama(landmarks):
    actual = similarity_matrix(landmarks.double(), ARCFACE_TEMPLATE.double())
    template = ARCFACE_TEMPLATE.double().numpy()
    for matrix, points in zip(actual, landmarks.double().numpy(), strict=True):
        np.testing.assert_allclose(matrix.numpy(), umeyama(points, template), atol=1e-9)


def test_similarity_of_a_similar_figure_is_exact(generator):
    points = torch.randn(2, 5, 2, generator=generator, dtype=torch.float64)
    turn = torch.tensor([[1.2, -0.9], [0.9, 1.2]], dtype=torch.float64)
    shift = torch.tensor([3.0, -7.0], dtype=torch.float64)
    matrix = similarity_matrix(points, points @ turn.T + shift)
    expected = torch.cat([turn, shift[:, None]], dim=1).expand(2, 2, 3)
    torch.testing.assert_close(matrix, expected)


def test_warp_equals_scipy(images, landmarks):
    aligned = align_faces(images, landmarks)
    assert aligned.shape == (3, 3, TEMPLATE_SIZE, TEMPLATE_SIZE)
    rows, columns = np.mgrid[:TEMPLATE_SIZE, :TEMPLATE_SIZE]
    for image, points, actual in zip(images, landmarks, aligned, strict=True):
        matrix = umeyama(points.double().numpy(), ARCFACE_TEMPLATE.double().numpy())
        crop = np.stack([columns.ravel(), rows.ravel()]) - matrix[:, 2:]
        x, y = np.linalg.solve(matrix[:, :2], crop)
        for channel in range(3):
            expected = map_coordinates(
                image[channel].double().numpy(), [y, x], order=1, mode="grid-constant", cval=-1
            ).reshape(TEMPLATE_SIZE, TEMPLATE_SIZE)
            np.testing.assert_allclose(actual[channel].numpy(), expected, atol=2e-3)


def test_face_that_lies_on_the_template_is_cropped_unchanged(generator):
    images = torch.rand(1, 3, 130, 130, generator=generator) * 2 - 1
    aligned = align_faces(images, ARCFACE_TEMPLATE[None])
    expected = images[..., :TEMPLATE_SIZE, :TEMPLATE_SIZE]
    torch.testing.assert_close(aligned, expected, atol=2e-4, rtol=0)


def test_smaller_crop_shows_the_same_face(images, landmarks):
    """A half-size crop reads the same points of the image, every other pixel."""
    template = ARCFACE_TEMPLATE / 2
    matrix = similarity_matrix(landmarks, template)
    torch.testing.assert_close(matrix * 2, similarity_matrix(landmarks, ARCFACE_TEMPLATE))
    half = align_faces(images, landmarks, size=56)
    whole = align_faces(images, landmarks)[..., ::2, ::2]
    torch.testing.assert_close(half, whole, atol=2e-3, rtol=0)


def test_outside_of_the_image_is_black(images, landmarks):
    far = landmarks + 1000
    assert (align_faces(images, far) == -1).all()


def test_gradient_to_the_pixels_is_the_finite_difference(images, landmarks, generator):
    """The warp is affine in the pixels, so one difference of any size is exact."""
    weights = torch.randn(3, 3, TEMPLATE_SIZE, TEMPLATE_SIZE, generator=generator)
    step = torch.randn(images.shape, generator=generator)

    def value(pixels):
        return (align_faces(pixels, landmarks) * weights).double().sum()

    (gradient,) = torch.autograd.grad(value(images.requires_grad_()), images)
    with torch.no_grad():
        difference = value(images + step) - value(images)
    torch.testing.assert_close((gradient * step).double().sum(), difference, rtol=1e-4, atol=1e-3)


def test_gradient_stays_within_the_crop(landmarks):
    images = torch.zeros(1, 3, 400, 400, requires_grad=True)
    align_faces(images, landmarks[:1] + 100).sum().backward()
    seen = images.grad[0, 0] != 0
    centre = (landmarks[0].mean(0) + 100).round().long()
    assert seen[centre[1], centre[0]]
    assert not seen[:50].any()
    assert not seen[:, 300:].any()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # insightface calls skimage's old names
@pytest.mark.parametrize("domain", ["human", "anime"])
def test_crop_of_a_rendered_face_equals_insightface(domain):
    """OpenCV rounds to 8 bits. Seen: mean 0.25 (human) and 0.14 (anime) levels, at most 0.501."""
    face_align = pytest.importorskip("insightface.utils.face_align", reason="needs extra `real`")
    face = {"human": HumanFaces, "anime": AnimeFaces}[domain]().render(9700, {"happy": 1.0})
    expected = face_align.norm_crop(face.image, face.landmarks).astype(float)
    image = torch.from_numpy(face.image.copy()).permute(2, 0, 1)[None] / 127.5 - 1
    points = torch.tensor(np.array(face.landmarks), dtype=torch.float32)[None]
    actual = ((align_faces(image, points)[0] + 1) * 127.5).permute(1, 2, 0).numpy()
    difference = np.abs(actual - expected)
    assert difference.mean() < 0.5, (difference.mean(), difference.max())  # of 255 levels
    assert difference.max() < 1.5, (difference.mean(), difference.max())
    matrix = similarity_matrix(points.double(), ARCFACE_TEMPLATE.double())[0]
    reference = face_align.estimate_norm(np.array(face.landmarks, dtype=np.float32))
    np.testing.assert_allclose(matrix.numpy(), reference, atol=1e-4)
