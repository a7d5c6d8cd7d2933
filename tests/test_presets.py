"""A preset is the paper's training, apart from the keys that it names."""

import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from pixelsmile.command import CONFIG_FOLDER
from tests.tiny_random import compose

GIVEN = ("name=test", "paths.weights=weights")
FILES = ("data.files.train=a.jsonl", "data.files.val=b.jsonl")
HINGE = {
    "loss.triplet.term._target_": "pixelsmile.losses.hinge",
    "loss.triplet.term.temperature": None,
    "loss.triplet.term.margin": 0.2,
}
LOG_RATIO = {
    "loss.triplet.term._target_": "pixelsmile.losses.log_ratio",
    "loss.triplet.term.temperature": None,
    "loss.triplet.term.epsilon": 1e-6,
}
ROWS = {
    "full": {},
    "without_contrastive": {"loss.triplet_weight": None},
    "without_id": {"loss.identity_weight": None},
    "without_symmetric": {"loss.triplet.symmetric": False},
    "log_ratio": LOG_RATIO,
    "hinge": HINGE,
}
"""Rows of Table 3 and what they change; MEAD, which changes the data, has a test of its own."""


def flat(node, path=""):
    """Yield every leaf of a config with its path, references resolved."""
    for key in node:
        value, name = node[key], f"{path}{key}"
        if isinstance(value, DictConfig):
            yield from flat(value, f"{name}.")
        else:
            yield name, OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def changes(one, other):
    """Return the keys in which two configs differ, with the value of the second."""
    first, second = dict(flat(one)), dict(flat(other))
    keys = first.keys() | second.keys()
    return {key: second.get(key) for key in keys if first.get(key) != second.get(key)}


@pytest.fixture(scope="module")
def paper():
    return compose("experiment=paper", *GIVEN, *FILES)


@pytest.mark.parametrize("row", ROWS)
def test_row_of_table_3_differs_from_the_paper_in_what_it_names(paper, row):
    assert changes(paper, compose(f"experiment=[paper,{row}]", *GIVEN, *FILES)) == ROWS[row]


@pytest.mark.parametrize("row", ROWS)
def test_row_of_table_3_differs_from_the_tiny_full_setting_in_what_it_names(row):
    tiny = compose("loss=info_nce", *GIVEN)
    assert changes(tiny, compose(f"experiment={row}", *GIVEN)) == ROWS[row]


def test_mead_differs_from_the_paper_in_its_data(paper):
    mead = compose("experiment=[paper,mead]", *GIVEN, "data.root=mead")
    assert mead.data == compose("data=mead", "model=qwen_image_edit_2511", "data.root=mead").data
    assert all(key.startswith("data.") for key in changes(paper, mead))


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("release_human", {"loss.identity.max_sigma": 0.6}),
        (
            "release_anime",
            {
                "loss.identity.max_sigma": 0.6,
                "loss.identity_weight": None,
                "loss.triplet_weight": 0.05,
                "domain.name": "anime",
                "domain.faces._target_": "pixelsmile.faces.anime.AnimeFaces",
                "model.encoder._target_": "pixelsmile.models.encoders.transformers_clip_encoder",
                "model.encoder.folder": "weights/DanbooruCLIP",
                "model.encoder.architecture": None,
            },
        ),
    ],
)
def test_release_differs_from_the_paper_in_loss_domain_and_data(paper, release, expected):
    config = compose(f"experiment={release}", *GIVEN, FILES[0])
    same = ("data=ffe_triplets", "model=qwen_image_edit_2511", f"domain={config.domain.name}")
    assert config.data == compose(*same, FILES[0]).data
    others = {k: v for k, v in changes(paper, config).items() if not k.startswith("data.")}
    detector = {k for k in others if k.startswith(("domain.detector", "model.detector"))}
    assert bool(detector) == (config.domain.name == "anime")
    assert {k: v for k, v in others.items() if k not in detector} == expected


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (["experiment=paper"], "weights/clip-vit-l-14/open_clip_model.safetensors"),
        (["experiment=paper", "domain=anime"], "weights/DanbooruCLIP"),
        (["experiment=[paper,hinge]", "domain=anime"], "weights/DanbooruCLIP"),
        (
            ["experiment=paper", "domain=anime", "model/encoder=clip_vit_l_14"],
            "weights/clip-vit-l-14/open_clip_model.safetensors",
        ),
    ],
)
def test_images_are_compared_by_the_clip_of_their_domain_unless_another_is_asked_for(words, folder):
    assert compose(*words, *GIVEN, *FILES).model.encoder.folder == folder


def test_tiny_model_has_one_clip_for_both_domains():
    human, anime = (compose(*GIVEN, f"domain={name}").model.encoder for name in ("human", "anime"))
    assert human == anime
    assert human.folder.endswith("faces/tiny/weights/clip")


def test_paper_has_the_numbers_of_its_appendix(paper):
    model, training = paper.model, paper.model.training
    assert (model.backbone.rank, model.backbone.alpha, model.backbone.dropout) == (64, 128, 0)
    optimizer = {"lr": 1e-4, "betas": [0.9, 0.999], "weight_decay": 1e-3, "eps": 1e-8}
    assert {key: model.optimizer[key] for key in optimizer} == optimizer
    assert model.scheduler.num_warmup_steps == 500
    assert (training.max_epochs, training.batch_size, training.precision) == (100, 4, "bf16-mixed")
    assert paper.trainer.accumulate_grad_batches == 1
    assert (paper.loss.triplet_weight, paper.loss.identity_weight) == (1.0, 0.1)
    assert instantiate(paper.loss.identity).max_sigma is None
    assert instantiate(paper.loss.triplet).term.keywords == {"temperature": 0.07}
    assert paper.domain.name == "human"


def test_runs_of_a_preset_are_named_after_it():
    """So that resume=auto never goes on with the run of another preset."""
    for file in sorted((CONFIG_FOLDER / "experiment").glob("*.yaml")):
        assert f"\nname: {file.stem}-" in file.read_text(), file.name
