"""What surrounds the step: skipped steps, accumulation, clipping, warm-up, the moving average."""

import math

import pytest
import torch
from hydra.utils import instantiate
from lightning import Callback, Trainer
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils.data import DataLoader

from pixelsmile.callbacks import AdapterAverage
from pixelsmile.checkpoints import LAST, RunCheckpoints
from pixelsmile.data.datamodule import TripletBatch
from pixelsmile.errors import UserError
from pixelsmile.guard import StepGuard
from pixelsmile.signals import StopSignals
from pixelsmile.stack import build_module
from tests.test_module import module, shared  # noqa: F401 - fixtures
from tests.tiny_random import SETTINGS, compose, random_batch

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def batches(generator):
    return [random_batch(generator, size=2) for _ in range(4)]


@pytest.fixture(autouse=True)
def fresh(module, monkeypatch):  # noqa: F811
    """Count from zero in every test, leave out the slow losses, and fix the schedule."""

    def falling(optimizer, num_training_steps):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))

    monkeypatch.setattr(module, "guard", type(module.guard)())
    monkeypatch.setattr(module, "triplet_weight", 0.0)
    monkeypatch.setattr(module, "identity_weight", 0.0)
    monkeypatch.setattr(module, "make_scheduler", falling)


def fit(module, batches, *callbacks, **options):  # noqa: F811
    """Train on batches in a row and return the trainer."""
    trainer = Trainer(
        **{"max_steps": len(batches), "max_epochs": -1} | options,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=any(isinstance(one, RunCheckpoints) for one in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        callbacks=list(callbacks),
    )
    trainer.fit(module, DataLoader(batches, batch_size=None))
    return trainer


def state_after(module, batches, *callbacks, **options):  # noqa: F811
    """Return everything that training changes, from the same start."""
    start = {name: value.clone() for name, value in module.state_dict().items()}
    trainer = fit(module, batches, *callbacks, **options)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    for number, entry in trainer.optimizers[0].state_dict()["state"].items():
        state |= {f"optimizer.{number}.{name}": value.clone() for name, value in entry.items()}
    schedule = trainer.lr_scheduler_configs[0].scheduler.state_dict()
    state["schedule"] = torch.tensor([schedule["last_epoch"], *schedule["_last_lr"]])
    module.load_state_dict(start)
    return state


def assert_equal(one, other):
    assert one.keys() == other.keys()
    assert [name for name, value in one.items() if not torch.equal(value, other[name])] == []


# ---- steps that are not finite --------------------------------------------------------------


class Spoil(Callback):
    """Put a value into the gradient of chosen batches."""

    def __init__(self, value, *batches):
        self.value, self.batches = value, batches

    def on_after_backward(self, trainer, pl_module):
        if trainer.fit_loop.epoch_loop.total_batch_idx in self.batches:
            pl_module.backbone.adapter_parameters()[3].grad[0] = self.value


def bad(batch):
    return batch._replace(noise=torch.full_like(batch.noise, math.nan))


def test_step_with_a_loss_that_is_not_finite_leaves_no_trace(module, batches):  # noqa: F811
    """Weights, optimizer, schedule and average are those of a training without the step."""
    one, two, three, _ = batches
    clean, spoilt = AdapterAverage(0.9), AdapterAverage(0.9)
    expected = state_after(module, [one, two, three], clean)
    actual = state_after(module, [one, bad(one), two, bad(two), bad(three), three], spoilt)
    assert module.guard.state_dict() == {"skipped": 3, "in_a_row": 0}
    assert expected["schedule"][0] == clean.updates == spoilt.updates == 3
    assert_equal(actual, expected)
    assert_equal(spoilt.average, clean.average)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_step_with_a_gradient_that_is_not_finite_is_skipped(module, batches, value):  # noqa: F811
    before = {name: weights.clone() for name, weights in module.state_dict().items()}
    fit(module, batches[:2], Spoil(value, 0, 1))
    assert module.guard.state_dict() == {"skipped": 2, "in_a_row": 2}
    assert_equal(module.state_dict(), before)


def test_a_gradient_norm_on_the_host_is_judged_with_losses_on_a_gpu():
    """As with `cpu_offload`: a fake tensor knows its device, and has no number to say."""
    guard = StepGuard()
    with FakeTensorMode():
        guard.see(torch.ones((), device="cuda"))
        with pytest.raises(DataDependentOutputException):
            guard.judge(torch.ones(()))


def test_one_bad_batch_spoils_the_step_that_accumulates_it_and_no_other(module, batches):  # noqa: F811
    one, two, three, four = batches
    skipped = state_after(
        module, [one, bad(two), three, four], accumulate_grad_batches=2, max_steps=2
    )
    assert module.guard.skipped == 1
    taken = state_after(module, [three, four], accumulate_grad_batches=2, max_steps=1)
    assert_equal(skipped, taken)


def checkpoints(folder, **options):
    return RunCheckpoints(
        folder, **{"every": 100, "stop": StopSignals(), "max_skipped": 2} | options
    )


def test_run_of_bad_steps_ends_with_the_last_good_state_and_one_sentence(module, batches, tmp_path):  # noqa: F811
    one, two, three, _ = batches
    batches = [one, bad(one), two, bad(one), bad(two), three]
    with pytest.raises(
        UserError, match=r"not finite in 2 steps in a row, up to step 5: .*last\.ckpt\. Lower"
    ):
        fit(module, batches, checkpoints(tmp_path))
    kept = torch.load(tmp_path / LAST, weights_only=True)
    assert kept["global_step"] == 5
    assert kept["guard"] == {"skipped": 3, "in_a_row": 0}
    assert_equal(kept["state_dict"], module.state_dict())
    steps = {int(entry["step"]) for entry in kept["optimizer_states"][0]["state"].values()}
    assert steps == {2}
    assert all(value.isfinite().all() for value in kept["state_dict"].values())


# ---- accumulation, clipping, warm-up --------------------------------------------------------


def test_two_accumulated_batches_are_one_of_twice_the_size(module, batches):  # noqa: F811
    one, two, *_ = batches
    both = TripletBatch(*(torch.cat(parts) for parts in zip(one, two, strict=True)))
    sgd = lambda parameters: torch.optim.SGD(parameters, lr=0.1)  # noqa: E731
    module.make_optimizer, kept = sgd, module.make_optimizer
    try:
        apart = state_after(module, [one, two], accumulate_grad_batches=2, max_steps=1)
        together = state_after(module, [both], max_steps=1)
    finally:
        module.make_optimizer = kept
    for name, value in together.items():
        torch.testing.assert_close(apart[name], value, atol=1e-6, rtol=1e-5, msg=name)


class Norms(Callback):
    """Record the gradient's norm as the optimizer gets it."""

    def __init__(self):
        self.norms = []

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        gradients = [p.grad for p in pl_module.backbone.adapter_parameters() if p.grad is not None]
        if gradients:
            self.norms.append(float(torch.stack([g.norm() for g in gradients]).norm()))


def test_gradient_is_clipped_to_its_norm(module, batches):  # noqa: F811
    free, clipped = Norms(), Norms()
    start = {name: value.clone() for name, value in module.state_dict().items()}
    fit(module, batches[:2], free)
    module.load_state_dict(start)
    fit(module, batches[:2], clipped, gradient_clip_val=free.norms[0] / 3)
    assert clipped.norms[0] == pytest.approx(free.norms[0] / 3, rel=1e-4)


def test_learning_rate_warms_up_and_falls_along_a_cosine(module):  # noqa: F811
    config = compose("name=test", "model.scheduler.num_warmup_steps=2", "model.optimizer.lr=1.0")
    optimizer = instantiate(config.model.optimizer)(module.backbone.adapter_parameters())
    scheduler = instantiate(config.model.scheduler)(optimizer, num_training_steps=6)
    rates = []
    for _ in range(6):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    half = [0.5 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert rates == pytest.approx([0, 0.5, *half])


def test_schedule_counts_steps_and_not_batches(module, batches):  # noqa: F811
    state = state_after(module, batches, accumulate_grad_batches=2, max_steps=2)
    assert state["schedule"][0] == 2


# ---- the moving average ---------------------------------------------------------------------


class Weights(Callback):
    """Record the weights after every batch."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.seen.append([p.detach().clone() for p in pl_module.backbone.adapter_parameters()])


def test_average_is_the_exponential_one_of_the_steps_weights(module, batches):  # noqa: F811
    expected = [p.detach().clone() for p in module.backbone.adapter_parameters()]
    average, weights = AdapterAverage(decay=0.25), Weights()
    fit(module, batches, average, weights, max_steps=4)
    for number, seen in enumerate(weights.seen, start=1):
        decay = min(0.25, (1 + number) / (10 + number))
        expected = [
            decay * old + (1 - decay) * new for old, new in zip(expected, seen, strict=True)
        ]
    for actual, wanted in zip(average.average.values(), expected, strict=True):
        torch.testing.assert_close(actual, wanted, atol=1e-7, rtol=1e-5)
    average.use(module)
    used = module.backbone.adapter_parameters()
    assert all(torch.equal(*pair) for pair in zip(used, average.average.values(), strict=True))


def test_average_takes_part_once_a_step_when_batches_are_accumulated(module, batches):  # noqa: F811
    average = AdapterAverage()
    fit(module, batches, average, accumulate_grad_batches=2, max_steps=2)
    assert (average.updates, average.step) == (2, 2)


# ---- 8 bit ----------------------------------------------------------------------------------


def test_missing_bitsandbytes_is_named_with_the_way_out(tiny_stack):
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("bitsandbytes is installed")
    config = compose(f"model.weights={tiny_stack}", *SETTINGS, "optimizer=adamw_8bit")
    assert config.model.optimizer._target_ == "bitsandbytes.optim.AdamW8bit"
    assert config.model.optimizer.weight_decay == 1e-3
    with pytest.raises(
        UserError, match=r"needs bitsandbytes, .* pip install bitsandbytes, or leave"
    ):
        build_module(config)
