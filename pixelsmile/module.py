"""The LightningModule: one training step of PixelSmile, and validation by editing.

Shapes: B triplets, C h w latent, H W image, L tokens, D text width, S strengths, K expressions.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from pixelsmile.conditioning import interpolate_text, join_suffix
from pixelsmile.data.datamodule import IdentityBatch, TripletBatch
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.flow import add_noise, denoise, sample_sigma, velocity
from pixelsmile.guard import StepGuard
from pixelsmile.losses import IdentityLoss, SymmetricTripletLoss
from pixelsmile.models.autoencoder import Autoencoder
from pixelsmile.models.backbone import Backbone
from pixelsmile.models.renderer import draw_noise, render
from pixelsmile.models.sampler import Conditions
from pixelsmile.parallel import norm_of
from pixelsmile.ranks import mean_of_all
from pixelsmile.scoring import EditingMetrics, FaceScorer
from pixelsmile.seeds import stream_seed

_BATCH = 25
"""Validation edits that go through a network together."""


class Terms(NamedTuple):
    """The parts of Eq. 9, each ()."""

    flow: Tensor
    triplet: Tensor
    identity: Tensor


class Edits(NamedTuple):
    """One identity edited into everything."""

    images: Tensor  # (K, S, 3, H, W), in [-1, 1]
    scores: Tensor  # (K, S, 12), of the judge
    source: Tensor  # (3, H, W)
    position: int  # of the identity in the validation set


class PixelSmile(LightningModule):
    """Train a LoRA with flow matching, a symmetric triplet loss and an identity loss (Eq. 9).

    Only the adapter learns and enters a checkpoint. The step decodes nothing but its predictions.

    Args:
        backbone: MMDiT with adapter.
        autoencoder: Frozen VAE.
        encoder: Frozen image encoder of the triplet loss.
        recogniser: Frozen recogniser of the identity loss; takes images and landmarks.
        scorer: Judges validation edits; None trains without validation.
        triplet: The loss in the encoder's space.
        identity: The loss in the recogniser's space.
        triplet_weight: lambda_sc; None or 0 leaves the term out.
        identity_weight: lambda_id; None or 0 leaves the term out.
        optimizer: Parameters to optimizer.
        scheduler: Optimizer and `num_training_steps` to a learning-rate schedule per step.
        sigmas: Noise levels that validation visits, (steps + 1,), from 1 to 0.
        strengths: Strengths that validation edits at, increasing, ending in 1.
        seed: Of the noise of validation, the same for every edit.
    """

    sigmas: Tensor

    def __init__(
        self,
        backbone: Backbone,
        autoencoder: Autoencoder,
        encoder: nn.Module,
        recogniser: nn.Module,
        scorer: FaceScorer | None,
        *,
        triplet: SymmetricTripletLoss,
        identity: IdentityLoss,
        triplet_weight: float | None = 1.0,
        identity_weight: float | None = 0.1,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        scheduler: Callable[..., torch.optim.lr_scheduler.LRScheduler],
        sigmas: Tensor,
        strengths: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.autoencoder = autoencoder
        self.encoder = encoder
        self.recogniser = recogniser
        self.scorer = scorer
        self.triplet = triplet
        self.identity = identity
        self.triplet_weight = triplet_weight or 0.0
        self.identity_weight = identity_weight or 0.0
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.register_buffer("sigmas", sigmas, persistent=False)
        self.strengths = tuple(strengths)
        self.seed = seed
        self.metrics = EditingMetrics()
        self.results: dict[str, Any] = {}
        self.confusion: Tensor | None = None  # of the last validation, (12, 12)
        self.validated_step: int | None = None  # the step that `results` belong to
        self.examples: list[Edits] = []
        self.guard = StepGuard()

    # ---- training ---------------------------------------------------------------------------

    def training_step(self, batch: TripletBatch, batch_idx: int) -> Tensor:
        """Return the loss of Eq. 9."""
        terms, sigma = self.terms(batch)
        weighted = self.triplet_weight * terms.triplet + self.identity_weight * terms.identity
        loss = terms.flow + weighted
        # What is logged, and judged as finite, is the mean over all processes.
        active = self.identity.active(sigma).float().mean()
        values = mean_of_all(torch.stack([loss, *terms, active]).detach())
        self.guard.see(values[0])
        size = len(batch.source)
        for name, value in zip(("loss", *Terms._fields), values, strict=False):
            self.log(f"train/{name}", value, prog_bar=name == "loss", batch_size=size)
        if self.identity_weight:
            self.log("train/identity_active", values[-1], batch_size=size)
        return loss

    def terms(self, batch: TripletBatch) -> tuple[Terms, Tensor]:
        """Return the three losses of a batch, and its noise levels, (B,).

        Both branches of a triplet share noise and noise level, and run as one batch of 2B.
        """
        sigma = sample_sigma(batch.uniform)
        noise = batch.noise.repeat(2, 1, 1, 1)
        level = sigma.repeat(2)
        clean = torch.cat([batch.target_a, batch.target_b])
        noisy = add_noise(clean, noise, level)
        predicted = self.backbone(
            noisy, level, batch.source.repeat(2, 1, 1, 1), self.condition(batch)
        ).float()
        # The mean over both branches is the half sum of Eq. 9.
        flow = F.mse_loss(predicted, velocity(clean, noise))
        triplet = identity = flow.new_zeros(())
        if self.triplet_weight or self.identity_weight:
            images = self.autoencoder.decode(denoise(noisy, predicted, level), clamp=False)
            if self.triplet_weight:
                generated = self.encoder(images).chunk(2)
                triplet = self.triplet(*generated, batch.feature_a, batch.feature_b)
            counted = self.identity.counted(sigma)
            if self.identity_weight and len(counted):  # nobody looks at faces that do not count
                both = torch.cat([counted, counted + len(sigma)])
                landmarks = torch.cat([batch.landmarks_a, batch.landmarks_b])
                known = batch.identity_a[counted], batch.identity_b[counted]
                generated = self.recogniser(images[both], landmarks[both]).chunk(2)
                share = len(counted) / len(sigma)
                identity = self.identity(*generated, *known, sigma[counted]) * share
        return Terms(flow, triplet, identity), sigma

    @staticmethod
    def condition(batch: TripletBatch) -> Tensor:
        """Return the text of both branches at their strengths, (2B, L, D) (Eq. 5)."""
        neutral = batch.neutral.float().repeat(2, 1, 1)
        target = join_suffix(neutral, torch.cat([batch.suffix_a, batch.suffix_b]).float())
        return interpolate_text(neutral, target, torch.cat([batch.strength_a, batch.strength_b]))

    def on_train_batch_start(self, batch: TripletBatch, batch_idx: int) -> None:
        """Make dropout depend on the step alone."""
        torch.manual_seed(stream_seed(self.seed, "step", batch_idx, self.global_rank))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the norm of the gradient before it is clipped; skip a step that is not finite."""
        gradients = [p.grad for p in self.backbone.adapter_parameters() if p.grad is not None]
        norm = norm_of(gradients)
        taken = self.trainer.strategy.reduce_boolean_decision(self.guard.judge(norm))
        self.guard.count(taken)
        if not taken:  # without gradients the optimizer touches neither weights nor its state
            optimizer.zero_grad(set_to_none=True)
        self.log("train/gradient_norm", norm, batch_size=1)
        self.log("train/skipped", float(self.guard.skipped), batch_size=1)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Advance the learning rate, but not for a step that was skipped."""
        if not self.guard.in_a_row:
            super().lr_scheduler_step(scheduler, metric)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Optimise the adapter alone."""
        optimizer = self.make_optimizer(self.backbone.adapter_parameters())
        steps = self.trainer.estimated_stepping_batches
        scheduler = self.make_scheduler(optimizer, num_training_steps=int(steps))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step", "name": "train/lr"},
        }

    # ---- validation -------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Begin to count anew."""
        self.metrics.reset()
        self.examples = []

    def validation_step(self, batch: IdentityBatch, batch_idx: int) -> None:
        """Edit each identity into every expression at every strength, and score the edits."""
        assert self.scorer is not None
        for row, valid in enumerate(batch.valid.tolist()):
            images = self.edit(batch, row)  # also of rows that do not count, or the others wait
            if valid:
                edits = self.score(images, batch, row)
                self.examples = [*self.examples, edits][:2]

    def edit(self, batch: IdentityBatch, row: int) -> Tensor:
        """Return one identity in every expression and strength, (K, S, 3, H, W), from one noise."""
        strengths = torch.tensor(self.strengths, device=self.device)
        weights = torch.eye(len(EXPRESSIONS), device=self.device).unsqueeze(1) * strengths[:, None]
        source, edge = batch.source[row], batch.image.shape[-1] // 8
        images = render(
            self.backbone,
            self.autoencoder,
            Conditions(source, batch.neutral[row], batch.suffixes[row]),
            weights.flatten(0, 1),
            draw_noise(len(source), edge, edge, self.seed),
            self.sigmas,
            batch_size=_BATCH,
        )
        return images.unflatten(0, weights.shape[:2])

    @torch.no_grad()
    def score(self, images: Tensor, batch: IdentityBatch, row: int) -> Edits:
        """Judge the images of one identity, (K, S, 3, H, W), and count them in."""
        assert self.scorer is not None
        flat = images.flatten(0, 1)
        landmarks = batch.landmarks[row : row + 1]
        scores = self.scorer.expressions(flat).unflatten(0, images.shape[:2])
        embedded = self.scorer.identities(flat, landmarks.expand(len(flat), -1, -1))
        source = self.scorer.identities(batch.image[row : row + 1], landmarks)
        self.metrics.update(
            requested=torch.arange(len(EXPRESSIONS), device=images.device),
            strengths=torch.tensor(self.strengths, device=images.device),
            scores=scores,
            source=source.expand(-1, len(EXPRESSIONS), -1),
            edited=embedded.unflatten(1, images.shape[:2]),
        )
        return Edits(images.cpu(), scores.cpu(), batch.image[row].cpu(), int(batch.position[row]))

    def on_validation_epoch_end(self) -> None:
        """Compute and log every metric."""
        self.results, self.confusion = self.metrics.compute(), self.metrics.confusion()
        self.validated_step = self.trainer.global_step
        for name, measured in self.results.items():
            self.log(f"val/{name}", measured["value"], prog_bar=name == "mscr", sync_dist=False)

    # ---- what is kept -----------------------------------------------------------------------

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the adapter alone, under the names of the whole module."""
        state = super().state_dict(*args, **kwargs).items()
        return {name: value for name, value in state if ".lora_" in name}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load an adapter; every one of its keys must be there and known.

        Raises:
            UserError: If a key is missing or unknown, or has another shape.
        """
        own = {name: value.shape for name, value in self.state_dict().items()}
        given = {name: value.shape for name, value in state_dict.items()}
        if different := sorted(n for n in own | given if own.get(n) != given.get(n)):
            raise UserError(
                f"The checkpoint differs from this model in {len(different)} adapter keys, e.g. "
                f"{different[0]!r}: resume with the model, rank and LoRA targets of its run."
            )
        return super().load_state_dict(state_dict, strict=False, assign=assign)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what was measured and skipped so far."""
        checkpoint["guard"] = self.guard.state_dict()
        checkpoint["validation"] = {"step": self.validated_step, "results": self.results}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over what `on_save_checkpoint` added."""
        self.guard.load_state_dict(checkpoint["guard"])
        self.validated_step = checkpoint["validation"]["step"]
        self.results = checkpoint["validation"]["results"]
