"""Every config composes, its objects come to life, and the paper's numbers are the defaults."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import MissingConfigException
from hydra.utils import get_class, get_method, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError

from pixelsmile.command import CONFIG_FOLDER, command, unknown_key_hint
from pixelsmile.losses import IdentityLoss, SymmetricTripletLoss, hinge, info_nce, log_ratio
from tests.tiny_random import compose

GROUPS = (
    "domain",
    "model",
    "data",
    "loss",
    "trainer",
    "profiler",
    "average",
)  # experiments: test_presets
PARTS = ("model/encoder", "model/recogniser")  # of the real model; the tiny ones come with tiny
CHOICES = [
    (group, file.stem)
    for group in GROUPS
    for file in sorted((CONFIG_FOLDER / group).glob("*.yaml"))
]
FILES = {"data.files.train": "a.jsonl", "data.root": "mead"}


def resolved(*overrides):
    """Compose, fill in what a user must, and resolve every reference."""
    config = compose("name=test", "paths.weights=weights", *overrides)
    for key, value in FILES.items():
        parent, _, name = key.rpartition(".")
        node = OmegaConf.select(config, parent)
        if node is not None and OmegaConf.is_missing(node, name):
            OmegaConf.update(config, key, value)
    OmegaConf.resolve(config)
    return config


def targets(node):
    """Yield every `_target_` below a node."""
    for key in node:
        if key == "_target_":
            yield node[key]
        elif isinstance(value := node[key], DictConfig):
            yield from targets(value)
        elif OmegaConf.is_list(value):
            for item in value:
                if isinstance(item, DictConfig):
                    yield from targets(item)


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_and_names_things_that_exist(group, choice):
    config = resolved(f"{group}={choice}")
    assert not OmegaConf.missing_keys(config)
    found = list(targets(config))
    assert found
    for name in found:
        owner = name.rpartition(".")[0]
        assert callable(get_method(name) if _is_module(owner) else _member(name)), name


def _is_module(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def _member(name):
    owner, _, member = name.rpartition(".")
    return getattr(get_class(owner), member)


@pytest.mark.parametrize(
    "choice",
    [
        f"{part}={file.stem}"
        for part in PARTS
        for file in sorted((CONFIG_FOLDER / part).glob("*.yaml"))
        if "tiny" not in file.stem
    ],
)
def test_every_part_of_the_real_model_composes_and_names_its_loader(choice):
    config = resolved("model=qwen_image_edit_2511", choice)
    part = config.model[choice.partition("=")[0].removeprefix("model/")]
    assert callable(get_method(part["_target_"]))
    signature = inspect.signature(get_method(part["_target_"]))
    signature.bind(**{key: value for key, value in part.items() if key != "_target_"})
    assert (part.get("folder") or part.get("file")).startswith("weights/")


def test_identity_similarity_of_the_real_model_is_the_mean_of_the_three_of_the_paper(paper):
    loaders = [part["_target_"].rpartition(".")[2] for part in paper.model.scorer.recognisers]
    assert loaders == ["onnx_recogniser", "adaface_recogniser", "facenet_recogniser"]


WEIGHTS = "paths.weights=weights"  # of the real stack; only its user can know


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("faces/faces", []),
        ("tiny", []),
        ("lora_file/export", []),
        ("lora_file/verify", []),
        ("calibrate", [WEIGHTS]),
        ("edit", [WEIGHTS]),
    ],
)
def test_configs_of_the_other_commands_compose(name, given):
    path = CONFIG_FOLDER / name
    with initialize_config_dir(str(path.parent), version_base="1.3"):
        config = hydra_compose(path.name, given)
    OmegaConf.resolve(config)
    assert not OmegaConf.missing_keys(config)


# ---- losses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "term", "constant"),
    [
        ("info_nce", info_nce, {"temperature": 0.07}),
        ("hinge", hinge, {"margin": 0.2}),
        ("log_ratio", log_ratio, {"epsilon": 1e-6}),
    ],
)
def test_losses_have_the_constants_of_the_paper(name, term, constant):
    loss = resolved("model=qwen_image_edit_2511", f"loss={name}").loss
    triplet, identity = instantiate(loss.triplet), instantiate(loss.identity)
    assert isinstance(triplet, SymmetricTripletLoss)
    assert triplet.symmetric
    assert triplet.term.func is term
    assert triplet.term.keywords == constant
    assert isinstance(identity, IdentityLoss)
    assert identity.max_sigma == 0.6
    assert (loss.triplet_weight, loss.identity_weight) == (1.0, 0.1)


def test_only_drawings_go_without_the_identity_loss():
    assert resolved("domain=human").loss.identity_weight == 0.1
    for loss in ("info_nce", "hinge", "log_ratio"):
        assert resolved("domain=anime", f"loss={loss}").loss.identity_weight is None
    forced = resolved("domain=anime", "loss.identity_weight=0.2")
    assert forced.loss.identity_weight == 0.2


# ---- the paper's training -------------------------------------------------------------------


@pytest.fixture(scope="module")
def paper():
    return resolved("model=qwen_image_edit_2511", "data=ffe")


def test_real_model_has_the_adapter_of_the_paper(paper):
    backbone = paper.model.backbone
    assert (backbone.rank, backbone.alpha, backbone.dropout) == (64, 128, 0.0)
    assert "targets" not in backbone  # the default of the class: all twelve


def test_real_model_has_the_optimiser_of_the_paper(paper):
    weights = [torch.nn.Parameter(torch.zeros(1))]
    optimizer = instantiate(paper.model.optimizer)(weights)
    assert type(optimizer) is torch.optim.AdamW
    wanted = {"lr": 1e-4, "betas": (0.9, 0.999), "weight_decay": 1e-3, "eps": 1e-8}
    assert {key: _plain(optimizer.defaults[key]) for key in wanted} == wanted


def _plain(value):
    return tuple(value) if OmegaConf.is_list(value) else value


def test_real_model_warms_up_for_500_steps_and_falls_along_a_cosine(paper):
    optimizer = instantiate(paper.model.optimizer)([torch.nn.Parameter(torch.zeros(1))])
    scheduler = instantiate(paper.model.scheduler)(optimizer, num_training_steps=2500)
    rates = []
    for _ in range(2500):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates[0] == 0
    assert rates[250] == pytest.approx(0.5e-4)
    assert rates[500] == pytest.approx(1e-4)
    assert rates[1500] == pytest.approx(0.5e-4)
    assert rates[-1] < 1e-9


def test_real_model_trains_as_long_and_as_carefully_as_the_paper(paper):
    assert (paper.model.training.max_epochs, paper.model.training.max_steps) == (100, -1)
    assert paper.data.batch_size == 4
    assert paper.trainer.gradient_clip_val == 1.0
    assert paper.trainer.accumulate_grad_batches == 1
    assert paper.trainer.precision == "bf16-mixed"
    assert paper.trainer.max_epochs == 100


def test_paths_of_the_real_weights_must_be_given():
    config = compose("name=test", "model=qwen_image_edit_2511")
    with pytest.raises(InterpolationToMissingValueError, match=r"paths\.weights"):
        str(config.model.folder)


def test_tiny_model_has_a_contrast_of_its_own_and_the_rows_of_the_paper_have_the_papers():
    tiny, paper = resolved("model=tiny"), resolved("model=qwen_image_edit_2511")
    assert paper.loss.triplet.term._target_ == "pixelsmile.losses.info_nce"
    assert tiny.loss == resolved("model=tiny", "loss=log_ratio").loss
    full = resolved("model=tiny", "experiment=full")
    assert full.loss == OmegaConf.merge(paper.loss, {"triplet_weight": 0.1})
    assert resolved("model=tiny", "domain=anime").loss.triplet_weight == 0.1
    assert tiny.model.strengths == paper.model.strengths
    assert tiny.model.backbone._target_ == paper.model.backbone._target_
    assert Path(tiny.model.folder).parts[-4:] == ("faces", "tiny", "weights", "pipeline")


# ---- refusals -------------------------------------------------------------------------------


def test_misspelt_choice_lists_the_choices():
    with pytest.raises(
        MissingConfigException, match=r"(?s)'loss/hinges'.*hinge.*info_nce.*log_ratio"
    ):
        compose("loss=hinges")


def test_misspelt_key_lists_the_keys_beside_it():
    config = compose("name=test")
    hint = unknown_key_hint(config, "trainer.max_step", CONFIG_FOLDER)
    assert hint.startswith("No key 'trainer.max_step': did you mean trainer.max_steps?")
    assert "gradient_clip_val" in hint
    hint = unknown_key_hint(config, "seeds", CONFIG_FOLDER)
    assert hint.startswith("No key 'seeds': did you mean seed?")
    for group in ("domain", "model", "loss"):
        assert group in hint
    assert unknown_key_hint(config, "model.optimizer.lr", CONFIG_FOLDER) is None


@pytest.fixture
def refused(monkeypatch, capfd):
    """Run a command that does what it is given, and return what it says when it fails."""

    def call(*words, work=lambda config: None):
        monkeypatch.setattr(sys, "argv", ["train", *words])
        GlobalHydra.instance().clear()

        def main(config):
            work(config)

        with pytest.raises(SystemExit):
            command("train")(main)()
        return capfd.readouterr().err

    return call


def test_hint_knows_the_keys_of_the_groups_that_were_chosen(refused):
    text = refused("data=ffe", "data.files.train=a", "+seeds=1", "trainer.max_step=5")
    assert text.count("No key") == 1
    assert "No key 'trainer.max_step': did you mean trainer.max_steps?" in text
    text = refused("data=ffe_triplets", "data.rescle=release", "hydra.verbose=true")
    assert text.count("No key") == 1
    assert "No key 'data.rescle': did you mean data.rescale?" in text
    assert "vertical_bias" in text
    words = ("model=qwen_image_edit_2511", "model.folder=x", "trainer.max_step=5")
    assert refused(*words).count("No key") == 1


def test_crash_says_nothing_about_keys(refused):
    def crash(config):
        raise RuntimeError("a defect")

    text = refused("data=ffe", "data.files.train=a", work=crash)
    assert "a defect" in text
    assert "No key" not in text


@pytest.mark.slow
def test_command_refuses_a_misspelt_key_with_those_that_exist(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pixelsmile.train", "trainer.max_step=5", f"paths.runs={tmp_path}"],
        capture_output=True,
        text=True,
        cwd=CONFIG_FOLDER.parent,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    for part in ("did you mean trainer.max_steps?", "gradient_clip_val"):
        assert part in done.stdout + done.stderr
    assert not any(tmp_path.iterdir())
