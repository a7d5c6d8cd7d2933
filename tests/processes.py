"""Several processes that train the random stack: `python -m tests.processes JOBS.json`.

They are forked from one that has imported everything, because a start of a fresh interpreter takes
longer than what it does here. A job is `{"task", "world", "folder", ...}`; each rank leaves
`folder/<rank>.pt`.
"""

import json
import os
import signal
import socket
import sys
import time
import traceback
from copy import deepcopy
from functools import cache
from pathlib import Path

IMAGE = 32
"""Edge of the images in these trainings, in pixels."""

BATCH, STEPS = 6, 20
"""Triplets of all processes together, and optimizer steps."""


# ---- data without files ---------------------------------------------------------------------


class RandomEncoded:
    """Stands for an encoded set: the numbers of a sample depend on its name alone."""

    def __init__(self):
        from pixelsmile.data.images import Sizes

        self.sizes = Sizes(image=IMAGE, text=56)

    def _draw(self, sample, what, *shape):
        import torch

        from pixelsmile.seeds import stream_generator

        numbers = stream_generator(what, sample.identity, sample.category, sample.scores[0])
        return torch.randn(*shape, generator=numbers)

    def image(self, sample):
        from torch.nn.functional import normalize

        from pixelsmile.faces.tiny.architectures import LATENT_CHANNELS
        from pixelsmile.faces.tiny.clip_training import clip_config
        from pixelsmile.faces.tiny.recogniser_networks import EMBEDDING
        from tests.tiny_random import IMAGE as CLIP_IMAGE

        feature = clip_config(CLIP_IMAGE)["model_cfg"]["embed_dim"]
        return {
            "latents": self._draw(sample, "latents", LATENT_CHANNELS, IMAGE // 8, IMAGE // 8),
            "feature": normalize(self._draw(sample, "feature", feature), dim=0),
            "identity": normalize(self._draw(sample, "identity", EMBEDDING), dim=0),
            "landmarks": self.landmarks(sample),
        }

    def source(self, sample):
        from pixelsmile.faces.tiny.architectures import LATENT_CHANNELS

        return self._draw(sample, "source", LATENT_CHANNELS, IMAGE // 8, IMAGE // 8)

    def prompts(self, sample):
        from pixelsmile.faces.tiny.architectures import TEXT_WIDTH

        return {
            "neutral": self._draw(sample, "neutral", 20, TEXT_WIDTH),
            "suffixes": self._draw(sample, "suffixes", 12, 7, TEXT_WIDTH),
        }

    def content(self, sample):
        return f"{sample.identity} {sample.category}"

    def landmarks(self, sample):
        import torch

        points = [[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.75], [0.65, 0.75]]
        return torch.tensor(points) * IMAGE


def sample(identity, category, number, image=Path("none")):
    """Return a sample of the set that `RandomEncoded` stands for."""
    from pixelsmile.data.samples import Sample
    from pixelsmile.expressions import EXPRESSIONS

    scores = tuple(float(name == category) for name in EXPRESSIONS)
    if category != "neutral":
        scores = (number / 100, *scores[1:])
    return Sample(image, identity, "human", category, scores)


def datamodule(place, *, people=7, batch_size=BATCH, rows=1, image=Path("none"), seed=3):
    """Return triplets of some people and held-out rows, as this process sees them."""
    from pixelsmile.data.datamodule import TripletDataModule
    from pixelsmile.data.triplets import Triplet

    triplets = [
        Triplet(
            sample(f"person {i}", "neutral", 0),
            sample(f"person {i}", "fear", i),
            sample(f"person {i}", "surprised", i),
        )
        for i in range(people)
    ]
    val = [sample(f"held out {i}", "neutral", 0, image) for i in range(rows)]
    return TripletDataModule(
        triplets,
        val,
        RandomEncoded(),
        batch_size=batch_size // place.world,
        seed=seed,
        place=place,
    )


# ---- tasks ----------------------------------------------------------------------------------


def configuration(stack, *overrides):
    """Compose the configuration of these trainings."""
    from tests.tiny_random import SETTINGS, compose

    config = compose(
        "name=test",
        *SETTINGS,
        f"model.sizes.image={IMAGE}",
        f"model.weights={stack}",
        "model.scheduler.num_warmup_steps=2",
        "loss.identity_weight=0.1",
        *overrides,
    )
    config.model.scorer = None  # nobody validates in them
    return config


@cache
def shared_module(stack):
    """Return a module whose frozen parts were loaded once, before the processes were forked."""
    from pixelsmile.stack import build_module

    return build_module(configuration(stack))


def fit(
    folder, strategy, stack, optimizer="sgd", steps=STEPS, checkpoint=None, overrides=(), stop=None
):
    """Train and return what was seen, and the state before and after.

    A rank that `stop` names behaves, in the step that it names, as after a SIGTERM.
    """
    from hydra.utils import instantiate
    from lightning import Callback

    from pixelsmile.parallel import save_adapter, whole
    from pixelsmile.ranks import own_place
    from pixelsmile.signals import StopSignals
    from pixelsmile.train import build_average, build_trainer

    place = own_place()
    config = configuration(
        stack,
        f"trainer={strategy}",
        f"trainer.devices={place.world}",
        "trainer.accelerator=cpu",
        "trainer.log_every_n_steps=1",
        "+trainer.limit_val_batches=0",
        f"trainer.max_steps={steps}",
        "model.training.validate_every=1000",
        "model.training.save_every=10",
        *overrides,
    )
    if optimizer == "sgd":
        config.model.optimizer = {
            "_target_": "torch.optim.SGD",
            "_partial_": True,
            "lr": 0.05,
            "momentum": 0.9,
        }
    read = count_reads()
    module = shared_module(stack)
    module.backbone = instantiate(config.model.backbone)
    module.autoencoder.in_parts(**config.model.decoding)
    module.make_optimizer = instantiate(config.model.optimizer)
    data = datamodule(place)
    signals = StopSignals()
    seen = {"loss": [], "norm": [], "uniform": [], "noise": []}

    class Recorder(Callback):
        def state(self, trainer):
            weights = trainer.strategy.lightning_module_state_dict()
            return {
                "weights": {name: value.clone() for name, value in weights.items()},
                "optimizer": deepcopy(trainer.strategy.optimizer_state(trainer.optimizers[0])),
            }

        def on_train_start(self, trainer, pl_module):
            seen["before"] = self.state(trainer)
            save_adapter(pl_module.backbone, Path(folder) / "before", {})

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if stop == {"rank": place.rank, "step": batch_idx + 1}:
                signals.received = signal.SIGTERM
            seen["uniform"].append(batch.uniform.tolist())
            seen["noise"].append(batch.noise[:, 0, 0, 0].tolist())

        def on_train_batch_end(self, trainer, *args):
            seen["loss"].append(float(trainer.logged_metrics["train/loss"]))
            if "train/gradient_norm" in trainer.logged_metrics:  # at the end of a step
                seen["norm"].append(float(trainer.logged_metrics["train/gradient_norm"]))

        def on_train_end(self, trainer, pl_module):
            seen["after"] = self.state(trainer)

    trainer = build_trainer(
        config, Path(folder), data, signals, [Recorder(), *build_average(config)]
    )
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
    save_adapter(module.backbone, Path(folder) / "after", {})
    parameters = list(module.backbone.transformer.parameters())
    seen["held"] = sum(whole_or_part(p).numel() for p in parameters)
    seen["read"] = sum(read)
    seen["total"] = sum(p.numel() for p in parameters)
    seen["dtypes"] = {
        kind: {str(p.dtype) for p in parameters if p.requires_grad == learns}
        for kind, learns in (("adapter", True), ("base", False))
    }
    base = {
        name: whole(p)
        for name, p in module.backbone.transformer.named_parameters()
        if ".lora_" not in name
    }
    seen["base"] = {name: value.clone() for name, value in base.items()} if steps < STEPS else None
    return seen


def count_reads():
    """Return a list that receives the size of everything that is read of the base."""
    from pixelsmile.models.first_weights import TensorFolder

    sizes = []
    original = TensorFolder.read

    def counted(self, *args):
        part = original(self, *args)
        sizes.append(part.numel())
        return part

    TensorFolder.read = counted
    return sizes


def whole_or_part(parameter):
    """Return what of a parameter is in this process, itself if that is all of it."""
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter


def validate(folder, rows, image, strategy="ddp", stack=None):
    """Validate a module with cheap parts on sets of several sizes; return results by rows.

    The backbone is cheap too, unless `stack` says where a random one of the real class is.
    """
    import torch
    from hydra.utils import instantiate
    from lightning import Trainer
    from torch import nn

    from pixelsmile.losses import IdentityLoss, SymmetricTripletLoss, info_nce
    from pixelsmile.module import PixelSmile
    from pixelsmile.ranks import own_place

    class Velocity(nn.Module):
        """Moves toward a picture that source and text make up."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, noisy, sigma, source, text, mask=None):
            wanted = source + text.mean(dim=(1, 2)).view(-1, 1, 1, 1) * source.roll(1, 1)
            return noisy - self.weight * wanted

        @property
        def dtype(self):
            return self.weight.dtype

        def adapter_parameters(self):
            return [self.weight]

    class Decoder(nn.Module):
        def decode(self, latents, *, clamp=True):
            return latents[:, :3].tanh().repeat_interleave(8, -1).repeat_interleave(8, -2)

    class Scorer(nn.Module):
        def expressions(self, images):
            numbers = torch.Generator().manual_seed(0)
            weights = torch.randn(3 * IMAGE * IMAGE, 12, generator=numbers)
            return (images.flatten(1) @ weights / 20).softmax(-1)

        def identities(self, images, landmarks):
            return torch.stack([images.flatten(1)[:, :64], images.flatten(1)[:, 64:128] + 0.5])

    place = own_place()
    world = f"trainer.devices={place.world}"
    config = stack and configuration(stack, f"trainer={strategy}", world)
    results = {}
    for count in rows:
        backbone, calls = instantiate(config.model.backbone) if stack else Velocity(), []
        backbone.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        spread = instantiate(config.trainer.get("strategy")) if stack else strategy
        module = PixelSmile(
            backbone,
            Decoder(),
            nn.Identity(),
            nn.Identity(),
            Scorer(),
            triplet=SymmetricTripletLoss(info_nce),
            identity=IdentityLoss(),
            optimizer=torch.optim.SGD,
            scheduler=torch.optim.lr_scheduler.ConstantLR,
            sigmas=torch.tensor([1.0, 0.5, 0.0]),
            strengths=(0.0, 0.5, 1.0),
        )
        data = datamodule(place, rows=count, image=Path(image))
        trainer = Trainer(
            accelerator="cpu",
            devices=place.world,
            strategy=spread if place.world > 1 else "auto",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            inference_mode=False,
        )
        trainer.validate(module, datamodule=data, verbose=False)
        results[count] = {
            "results": module.results,
            "confusion": module.confusion,
            "calls": len(calls),
            "spread": any(whole_or_part(p) is not p for p in backbone.parameters()),
        }
    return results


TASKS = {"fit": fit, "validate": validate}


# ---- processes ------------------------------------------------------------------------------


def child(job, rank, port):
    """Be one rank; leave the result, or the error, in the job's folder."""
    import torch
    import torch.distributed as dist

    from pixelsmile.errors import UserError
    from pixelsmile.ranks import joined
    from pixelsmile.stack import quiet

    folder = Path(job["folder"])
    with (folder / f"{rank}.log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(job["world"]),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }
    code = 0
    settings = {k: v for k, v in job.items() if k not in ("task", "world", "kill")}
    try:
        quiet()
        kill_in_training(job.get("kill"), rank)
        with joined():
            result = TASKS[job["task"]](**settings)
        torch.save(result, folder / f"{rank}.pt")
        if dist.is_initialized():
            dist.barrier()
    except UserError as error:
        (folder / f"{rank}.error").write_text(str(error))
        code = error.exit_code
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads of gloo sometimes abort at a normal exit, after the work is done


def kill_in_training(kill, rank):
    """Have a rank kill itself as it begins a step."""
    if not kill or kill["rank"] != rank:
        return
    from pixelsmile.module import PixelSmile

    begin = PixelSmile.on_train_batch_start

    def deadly(self, batch, batch_idx):
        if self.trainer.global_step == kill["step"]:
            os.kill(os.getpid(), signal.SIGKILL)
        begin(self, batch, batch_idx)

    PixelSmile.on_train_batch_start = deadly


def run(job):
    """Run one job and return the exit codes of its ranks and the seconds it took."""
    Path(job["folder"]).mkdir(parents=True, exist_ok=True)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    started = time.monotonic()
    pids = []
    for rank in range(job["world"]):
        pid = os.fork()
        if pid == 0:
            try:
                child(job, rank, port)
            finally:
                os._exit(70)
        pids.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    return {"codes": codes, "seconds": time.monotonic() - started}


def main():
    import torch

    import pixelsmile.train  # noqa: F401 - children find everything imported

    torch.set_num_threads(1)
    jobs = json.loads(Path(sys.argv[1]).read_text())
    for stack in {job["stack"] for job in jobs if job["task"] == "fit"}:
        shared_module(stack)
    for job in jobs:
        sys.stdout.write(json.dumps(run(job)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
