"""The training step is Eq. 9, only the adapter learns, and validation counts every edit once."""

import math

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from pixelsmile.data.datamodule import IdentityBatch
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.faces.tiny.architectures import TEXT_WIDTH
from pixelsmile.module import PixelSmile
from pixelsmile.stack import build_module
from tests.tiny_random import IMAGE, SETTINGS, compose, random_batch

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")


@pytest.fixture(scope="module")
def shared(tiny_stack):
    settings = ("model.scheduler.num_warmup_steps=1", "loss=info_nce", "loss.triplet_weight=1.0")
    config = compose(f"model.weights={tiny_stack}", *SETTINGS, *settings)
    module = build_module(config)
    numbers = torch.Generator().manual_seed(7)
    for name, value in module.state_dict().items():  # B starts at zero, where much stays hidden
        if "lora_B" in name:
            value.copy_(0.1 * torch.randn(value.shape, generator=numbers))
    return module


@pytest.fixture
def module(shared):
    """The shared module; its adapter comes back after the test."""
    kept = {name: value.clone() for name, value in shared.state_dict().items()}
    yield shared.train()
    shared.load_state_dict(kept)
    shared.zero_grad()


@pytest.fixture
def batch(generator):
    return random_batch(generator)


# ---- the step -------------------------------------------------------------------------------


def cosine(a, b):
    return (a * b).sum() / a.norm() / b.norm()


def eq_9(module, batch):
    """Sum Eq. 9 over samples and branches one by one, from the paper's formulas."""
    size = len(batch.source)
    sigma = ((batch.uniform * 1000).floor() + 1) / 1000
    noise = batch.noise
    flow = triplet = identity = 0.0
    for i in range(size):
        for side, other in (("a", "b"), ("b", "a")):
            clean = getattr(batch, f"target_{side}")[i]
            suffix, strength = (getattr(batch, f"{n}_{side}")[i] for n in ("suffix", "strength"))
            text = batch.neutral[i].clone()
            text[-len(suffix) :] += strength * (suffix - text[-len(suffix) :])
            noisy = (1 - sigma[i]) * clean + sigma[i] * noise[i]
            predicted = module.backbone(
                noisy[None], sigma[i : i + 1], batch.source[i : i + 1], text[None]
            )[0]
            flow += (predicted - (noise[i] - clean)).square().mean() / (2 * size)
            image = module.autoencoder.decode((noisy - sigma[i] * predicted)[None], clamp=False)
            near, far = (
                cosine(module.encoder(image)[0], getattr(batch, f"feature_{s}")[i]) / 0.07
                for s in (side, other)
            )
            triplet += -(near.exp() / (near.exp() + far.exp())).log() / (2 * size)
            if sigma[i] <= 0.6:
                landmarks = getattr(batch, f"landmarks_{side}")[i : i + 1]
                seen = module.recogniser(image, landmarks)[0]
                known = getattr(batch, f"identity_{side}")[i]
                identity += (1 - cosine(seen, known)) / (2 * size)
    return flow, triplet, identity


def test_step_equals_both_branches_run_one_by_one(module, batch):
    flow, triplet, identity = expected = eq_9(module, batch)
    terms, _ = module.terms(batch)
    for actual, wanted in zip(terms, expected, strict=True):
        torch.testing.assert_close(actual, wanted, atol=1e-5, rtol=1e-4)
        assert wanted > 0.01
    loss = module.training_step(batch, 0)
    torch.testing.assert_close(loss, flow + triplet + 0.1 * identity, atol=1e-5, rtol=1e-4)


def test_gradient_equals_that_of_both_branches_run_one_by_one(module, batch):
    flow, triplet, identity = eq_9(module, batch)
    parameters = module.backbone.adapter_parameters()
    expected = torch.autograd.grad(flow + triplet + 0.1 * identity, parameters)
    actual = torch.autograd.grad(module.training_step(batch, 0), parameters)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_each_term_reaches_the_adapter(module, batch):
    terms, _ = module.terms(batch)
    parameters = module.backbone.adapter_parameters()
    for name, term in terms._asdict().items():
        gradients = torch.autograd.grad(term, parameters, retain_graph=True)
        assert all(gradient.abs().sum() > 0 for gradient in gradients), name


def refuse(*args, **kwargs):
    raise AssertionError("This part must not run.")


def test_term_without_weight_is_not_computed(module, batch, monkeypatch):
    flow, triplet, _ = eq_9(module, batch)
    monkeypatch.setattr(module, "identity_weight", 0.0)
    monkeypatch.setattr(module.recogniser, "forward", refuse)
    torch.testing.assert_close(module.training_step(batch, 0), flow + triplet, atol=1e-5, rtol=1e-4)
    monkeypatch.setattr(module, "triplet_weight", 0.0)
    for part in (module.encoder, module.autoencoder):
        monkeypatch.setattr(part, "forward", refuse)
    monkeypatch.setattr(module.autoencoder, "decode", refuse)
    torch.testing.assert_close(module.training_step(batch, 0), flow, atol=1e-5, rtol=1e-4)


def test_strength_zero_conditions_on_the_neutral_prompt_and_one_on_the_target(batch):
    batch = batch._replace(strength_a=torch.zeros(2), strength_b=torch.ones(2))
    text = PixelSmile.condition(batch)
    assert torch.equal(text[:2], batch.neutral)
    assert torch.equal(text[2:, :-7], batch.neutral[:, :-7])
    assert torch.equal(text[2:, -7:], batch.suffix_b)


def test_loss_falls_when_one_batch_is_learned_by_heart(module, batch):
    optimizer = torch.optim.Adam(module.backbone.adapter_parameters(), lr=2e-2)
    losses = []
    for _ in range(12):
        loss = module.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


# ---- what is kept ---------------------------------------------------------------------------


def test_frozen_parts_stay_in_evaluation_when_training_starts(module):
    module.train()
    for part in (module.autoencoder, module.encoder, module.recogniser, module.scorer):
        assert not any(child.training for child in part.modules())
    assert module.backbone.training


def test_nothing_but_the_adapter_may_learn(module):
    learning = {name for name, p in module.named_parameters() if p.requires_grad}
    assert learning <= set(module.state_dict())
    assert learning


def test_state_holds_every_adapter_key_and_no_other(module):
    expected = {name for name, _ in module.named_parameters() if ".lora_" in name}
    assert set(module.state_dict()) == expected
    assert all(name.startswith("backbone.transformer.") for name in expected)


def test_state_of_another_adapter_is_refused(module):
    state = module.state_dict()
    lost = sorted(state)[0]
    del state[lost]
    with pytest.raises(
        ValueError, match=r"differs from this model in 1 adapter keys, e\.g\. 'back"
    ):
        module.load_state_dict(state)
    with pytest.raises(ValueError, match="resume with the model, rank and LoRA targets"):
        module.load_state_dict(module.state_dict() | {"backbone.other.lora_A": torch.zeros(1)})


def make_trainer(folder, steps):
    return Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        default_root_dir=folder,
        callbacks=[ModelCheckpoint(folder, save_last=True, every_n_train_steps=2)],
    )


@pytest.mark.filterwarnings("ignore")
def test_resumed_training_gives_the_numbers_of_an_undisturbed_one(module, batch, tmp_path):
    start = {name: value.clone() for name, value in module.state_dict().items()}
    loader = torch.utils.data.DataLoader([batch] * 8, batch_size=None)
    # The schedule depends on the number of steps, which therefore is the same in both.
    make_trainer(tmp_path / "whole", 4).fit(module, loader)
    whole = {name: value.clone() for name, value in module.state_dict().items()}
    module.load_state_dict(start)
    half = make_trainer(tmp_path / "half", 4)
    half.callbacks.append(StopAfterTwo())
    half.fit(module, loader)
    assert half.global_step == 2
    checkpoint = torch.load(tmp_path / "half" / "last.ckpt", weights_only=False)
    assert set(checkpoint["state_dict"]) == set(start)
    module.load_state_dict(start)
    make_trainer(tmp_path / "rest", 4).fit(module, loader, ckpt_path=tmp_path / "half/last.ckpt")
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, whole[name], atol=1e-6, rtol=1e-4, msg=name)
    assert any(not torch.equal(value, start[name]) for name, value in whole.items())


class StopAfterTwo(Callback):
    def on_train_batch_end(self, trainer, *args):
        trainer.should_stop = trainer.global_step >= 2


# ---- validation -----------------------------------------------------------------------------


@pytest.fixture
def people(generator):
    """Three sources, of which the last only keeps processes in step."""

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    return IdentityBatch(
        image=draw(3, 3, IMAGE, IMAGE).clamp(-1, 1),
        source=draw(3, 16, IMAGE // 8, IMAGE // 8),
        neutral=draw(3, 20, TEXT_WIDTH),
        suffixes=draw(3, 12, 7, TEXT_WIDTH),
        landmarks=random_batch(generator, size=3).landmarks_a,
        position=torch.tensor([4, 5, 6]),
        valid=torch.tensor([True, True, False]),
    )


def rows(people, *wanted):
    return IdentityBatch(*(value[list(wanted)] for value in people))


@torch.no_grad()
def validated(module, *batches):
    module.on_validation_epoch_start()
    for number, batch in enumerate(batches):
        module.validation_step(batch, number)
    return module.metrics.compute()


def test_validation_counts_every_valid_row_once(module, people):
    together = validated(module, people)
    assert together["acc_12"]["n"] == 2 * len(EXPRESSIONS)
    assert together["id_sim"]["n"] == 2 * len(EXPRESSIONS) * 1  # one strength above 0
    assert [edits.position for edits in module.examples] == [4, 5]
    apart = validated(module, rows(people, 0), rows(people, 2), rows(people, 1))
    for name, measured in apart.items():
        assert measured == pytest.approx(together[name], abs=1e-6), name


def test_validation_begins_anew_each_time(module, people):
    one = rows(people, 0)
    first = validated(module, one)
    assert validated(module, one) == first


@torch.no_grad()
def test_edits_are_the_sampled_prompts_of_each_expression_and_strength(module, people, monkeypatch):
    monkeypatch.setattr(module, "strengths", (0.0, 0.5, 1.0))
    images = module.edit(people, 1)
    assert images.shape == (12, 3, 3, IMAGE, IMAGE)
    noise = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(module.seed))
    for expression, strength in ((0, 0), (5, 1), (10, 2), (11, 1)):
        text = people.neutral[1:2].clone()
        gap = people.suffixes[1, expression] - text[0, -7:]
        text[0, -7:] += module.strengths[strength] * gap
        latents = noise
        for now, then in zip(module.sigmas[:-1], module.sigmas[1:], strict=True):
            source = people.source[1:2]
            predicted = module.backbone(latents, now.expand(1), source, text)
            latents = latents + (then - now) * predicted
        expected = module.autoencoder.decode(latents)[0]
        torch.testing.assert_close(images[expression, strength], expected, atol=1e-4, rtol=1e-4)
    assert (images[:, 0] == images[0, 0]).all()
    assert not torch.allclose(images[5, 2], images[10, 2], atol=1e-4)


@torch.no_grad()
def test_perfect_edits_score_perfectly(module, people, monkeypatch):
    """A judge that reads what was asked, and unchanged identities, give the ends of each scale."""
    asked = torch.eye(12)

    def read(images):
        curve = torch.tensor(module.strengths).view(1, -1, 1)
        return (asked[:, None] * curve).flatten(0, 1)

    monkeypatch.setattr(module.scorer, "expressions", read)
    monkeypatch.setattr(
        module.scorer, "identities", lambda images, _: torch.ones(3, len(images), 4)
    )
    module.on_validation_epoch_start()
    still = torch.zeros(12, len(module.strengths), 3, IMAGE, IMAGE)
    module.score(still, people, 0)
    values = {name: measured["value"] for name, measured in module.metrics.compute().items()}
    assert values.pop("mscr") == 0
    assert all(math.isclose(value, 1, abs_tol=1e-6) for value in values.values()), values
