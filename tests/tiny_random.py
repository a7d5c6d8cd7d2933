"""The tiny stack with random weights: every real class, built in seconds, no training.

Heavy imports stay inside, so that tests without models do not pay for them.
"""

from pathlib import Path

import pytest

IMAGE = 64
"""Edge of the images that these tests edit, in pixels; latents are an eighth of it."""

SETTINGS = (
    f"model.sizes.image={IMAGE}",
    "model.sizes.text=56",
    "model.num_steps=2",
    "model.strengths=[0.0,1.0]",
    "model.backbone.rank=2",
    "model.backbone.alpha=4",
)
"""Overrides that make a run of the random stack cheap."""


def build_stack(folder: Path) -> None:
    """Write `pipeline`, `judge`, `recognisers` and `clip` with the layout of the shipped ones."""
    import open_clip
    import torch

    from pixelsmile.faces.tiny.architectures import build_pipeline
    from pixelsmile.faces.tiny.clip_training import clip_config, save_clip
    from pixelsmile.faces.tiny.recogniser_training import RECOGNISERS, export
    from pixelsmile.judges.local import save_judge
    from pixelsmile.judges.network import ExpressionNet

    build_pipeline(folder / "pipeline", layers=1, heads=2)
    (folder / "recognisers").mkdir()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_judge(ExpressionNet(widths=(4, 8, 8, 8)), folder / "judge")
        for name, (network, _) in RECOGNISERS.items():
            export(_lived_in(network()), folder / "recognisers" / f"{name}.onnx")
        config = clip_config(IMAGE)
        save_clip(open_clip.CLIP(**config["model_cfg"]), config, folder / "clip")


def _lived_in(network):
    """Give batch norms statistics of their own.

    Fresh ones are all alike; the exporter then shares their weights, which onnx2torch cannot read.
    """
    import torch

    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            torch.nn.init.normal_(tensor, std=0.1)
        elif name.endswith("running_var"):
            torch.nn.init.uniform_(tensor, 0.5, 1.5)
    return network.eval()


@pytest.fixture(scope="session")
def tiny_stack(tmp_path_factory) -> Path:
    """The folder of the random stack; read only."""
    folder = tmp_path_factory.mktemp("stack")
    build_stack(folder)
    return folder


@pytest.fixture(scope="session")
def pipeline(tiny_stack):
    """The stock pipeline of the random stack; do not add adapters to it."""
    from diffusers import QwenImageEditPlusPipeline

    loaded = QwenImageEditPlusPipeline.from_pretrained(tiny_stack / "pipeline")
    loaded.set_progress_bar_config(disable=True)
    return loaded


def write_faces(folder: Path, seeds: range, *, strengths=(0.5, 1.0), size: int = IMAGE) -> Path:
    """Write a set of fake faces in the FFE layout and return its annotation file."""
    from pixelsmile.faces.dataset import write_dataset
    from tests.faces.fakes import FakeFaces

    return write_dataset(
        FakeFaces(),
        seeds,
        folder,
        strengths=strengths,
        size=size,
        workers=1,
        reserved=True,
        sheet=False,
    )


def compose(*overrides: str):
    """Compose `configs/train.yaml`."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    import pixelsmile.stack  # noqa: F401 - registers the resolvers of the configs
    from pixelsmile.command import CONFIG_FOLDER

    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return hydra_compose("train", list(overrides))


def random_batch(generator, *, size: int = 2, image: int = IMAGE):
    """Return a `TripletBatch` of random numbers in the shapes of the random stack."""
    import torch

    from pixelsmile.data.datamodule import TripletBatch
    from pixelsmile.faces.tiny.architectures import LATENT_CHANNELS, TEXT_WIDTH
    from pixelsmile.faces.tiny.clip_training import clip_config
    from pixelsmile.faces.tiny.recogniser_networks import EMBEDDING

    feature = clip_config(IMAGE)["model_cfg"]["embed_dim"]

    def draw(*shape: int):
        return torch.randn(*shape, generator=generator)

    def unit(width: int):
        return torch.nn.functional.normalize(draw(size, width), dim=-1)

    edge = image // 8
    points = torch.tensor([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.75], [0.65, 0.75]]) * image
    latents = [draw(size, LATENT_CHANNELS, edge, edge) for _ in range(3)]
    return TripletBatch(
        source=latents[0],
        neutral=draw(size, 20, TEXT_WIDTH),
        target_a=latents[1],
        target_b=latents[2],
        suffix_a=draw(size, 7, TEXT_WIDTH),
        suffix_b=draw(size, 7, TEXT_WIDTH),
        strength_a=torch.rand(size, generator=generator),
        strength_b=torch.rand(size, generator=generator),
        expression_a=torch.full((size,), 5),
        expression_b=torch.full((size,), 10),
        feature_a=unit(feature),
        feature_b=unit(feature),
        identity_a=unit(EMBEDDING),
        identity_b=unit(EMBEDDING),
        landmarks_a=points + draw(size, 5, 2),
        landmarks_b=points + draw(size, 5, 2),
        noise=draw(size, LATENT_CHANNELS, edge, edge),
        uniform=torch.linspace(0.2005, 0.9005, size),  # on both sides of the identity gate
    )
