"""What fast editing leaves out. Each trick wraps a field, so that any of them go together.

In a field of several pictures the first, the leader, has the neutral prompt.

Shapes: R pictures (rows), K expressions, C h w latent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from pixelsmile.models.context import Context
from pixelsmile.models.nodes import choose_nodes
from pixelsmile.models.sampler import Field, PromptedField


class Trick(Protocol):
    """Makes a cheaper field of a field."""

    def __call__(self, field: Field) -> Field:
        """Return a field of the same pictures."""
        ...


@dataclass(frozen=True)
class Speed:
    """Tricks in the order in which they wrap the field; none is the exact way.

    Attributes:
        tricks: `ReusedContext`, if it is there, comes first.
        at_once: Pictures that share a field, beside their leader; fewer keep fewer keys and values
            in memory, and every field runs its leader. None takes all.
    """

    tricks: Sequence[Trick] = field(default_factory=tuple)
    at_once: int | None = None

    @property
    def exact(self) -> bool:
        """Tell whether nothing is left out."""
        return not self.tricks

    def wrap(self, field: Field) -> Field:
        """Return the field with all tricks."""
        for trick in self.tricks:
            field = trick(field)
        return field


@dataclass(frozen=True)
class ReusedContext:
    """Keep the keys and values of source tokens, see `pixelsmile.models.context`, between steps.

    They hardly follow the noise level, but they do follow the prompt: pictures between two others
    of their blend attend to the mean of theirs.

    Attributes:
        max_drop: They are made anew once the noise level has fallen by so much since they were
            made; 0 makes them anew in every step, 1 never.
        span: Largest gap between two strengths whose own are kept, see `choose_nodes`.
        words: Keep those of the prompt up to the expression word as well.
    """

    max_drop: float = 1.0
    span: float = 1.0
    words: bool = False

    def __call__(self, field: Field) -> Field:
        """Return the cheaper field; this trick has to be the first."""
        if not isinstance(field, PromptedField):
            raise TypeError("ReusedContext has to be the first trick: it changes the network.")
        return _ContextField(field, self)


class _ContextField:
    def __init__(self, whole: PromptedField, trick: ReusedContext) -> None:
        self.whole, self.max_drop = whole, trick.max_drop
        self.weights = whole.weights
        _, neutral, suffixes = whole.conditions
        shared = len(neutral) - suffixes.shape[1] if trick.words else 0
        self.context = Context(choose_nodes(whole.weights, trick.span), shared)
        self.made_at: float | None = None

    def __call__(self, latents: Tensor, sigma: Tensor, rows: Tensor | None = None) -> Tensor:
        if rows is None:
            rows = torch.arange(len(self.weights), device=latents.device)
        if _fell(self.made_at, sigma, self.max_drop):
            self.context.forget()
            self.made_at = float(sigma)
        velocity = torch.empty_like(latents)
        # Those that others attend to come first; what none stands for runs as it would anyway.
        fresh = self.context.makes(rows)
        self._fill(velocity, fresh, latents, sigma, rows, making=True)
        ready = self.context.serves(rows) & ~fresh
        self._fill(velocity, ready, latents, sigma, rows, making=False)
        if (left := ~(fresh | ready)).any():
            velocity[left] = self.whole(latents[left], sigma, rows[left])
        return velocity

    def _fill(
        self,
        velocity: Tensor,
        which: Tensor,
        latents: Tensor,
        sigma: Tensor,
        rows: Tensor,
        *,
        making: bool,
    ) -> None:
        whole, context = self.whole, self.context
        noisy = latents.shape[-2] * latents.shape[-1] // 4
        for part in which.nonzero()[:, 0].split(whole.batch_size):
            if not len(part):
                continue
            some = rows[part]
            with context.installed(whole.denoiser.transformer, some, noisy, making=making):
                if making:
                    velocity[part] = whole(latents[part], sigma, some)
                else:
                    velocity[part] = whole.own_tokens(
                        latents[part], sigma, some, context.shared_text
                    )
            if making:
                context.remember(some)


@dataclass(frozen=True)
class HeldDirections:
    """Run the leader in every step, and keep how far the others' velocities are from its own.

    Changes nothing for a single picture.

    Attributes:
        max_drop: The others run again once the noise level has fallen by so much.
        below: Noise level under which they do not run any more; little is decided there.
    """

    max_drop: float = 0.0
    below: float = 0.0

    def __call__(self, field: Field) -> Field:
        """Return the cheaper field."""
        return _HeldField(field, self)


class _HeldField:
    def __init__(self, inner: Field, trick: HeldDirections) -> None:
        self.inner, self.trick = inner, trick
        self.weights = inner.weights
        self.made_at: float | None = None
        self.held = torch.empty(0)
        self.known: list[int] = []

    def __call__(self, latents: Tensor, sigma: Tensor, rows: Tensor | None = None) -> Tensor:
        asked = list(range(len(self.weights))) if rows is None else rows.tolist()
        holds = not _fell(self.made_at, sigma, self.trick.max_drop) or sigma <= self.trick.below
        if len(asked) > 1 and asked == self.known and holds:
            leader = torch.tensor(asked[:1], device=latents.device)
            return self.inner(latents[:1], sigma, leader) + self.held
        velocity = self.inner(latents, sigma, rows)  # None stays None: it lets others interpolate
        self.made_at, self.known = float(sigma), asked
        self.held = velocity - velocity[:1]
        return velocity


@dataclass(frozen=True)
class InterpolatedStrengths:
    """In the noisy steps, run a few strengths of each blend and interpolate those between them.

    All pictures start from one noise, so for a while their latents lie on a line from the neutral
    picture to the strongest one of the same blend. Changes nothing for these two.

    Attributes:
        until: Noise level from which on every picture runs by itself.
        span: Largest gap between two strengths that run, see `choose_nodes`.
    """

    until: float
    span: float = 1.0

    def __call__(self, field: Field) -> Field:
        """Return the cheaper field."""
        return _InterpolatedField(field, self)


class _InterpolatedField:
    def __init__(self, inner: Field, trick: InterpolatedStrengths) -> None:
        self.inner, self.until = inner, trick.until
        self.weights = inner.weights
        self.nodes = choose_nodes(inner.weights, trick.span)

    def __call__(self, latents: Tensor, sigma: Tensor, rows: Tensor | None = None) -> Tensor:
        if rows is not None or float(sigma) <= self.until:
            return self.inner(latents, sigma, rows)
        asked = self.nodes.rows
        return self.nodes.interpolate(self.inner(latents[asked], sigma, asked))


def _fell(since: float | None, sigma: Tensor, max_drop: float) -> bool:
    """Tell whether the noise level has fallen by `max_drop` since a level, or there was none."""
    return since is None or since - float(sigma) >= max_drop - 1e-6
