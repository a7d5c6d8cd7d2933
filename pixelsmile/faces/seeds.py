"""Which identities a set may hold: checked ranges of seeds, the evaluation seeds kept apart."""

from collections.abc import Sequence

from pixelsmile.errors import UserError
from pixelsmile.faces.base import RESERVED_SEED


def seed_range(first_seed: int, identities: int) -> range:
    """Return the seeds of so many identities, from the first one on.

    Raises:
        UserError: If there is no identity or the first seed is negative.
    """
    if identities < 1:
        raise UserError(f"identities={identities} leaves the set empty: ask for 1 or more.")
    if first_seed < 0:
        raise UserError(f"first_seed={first_seed} is negative: seeds start at 0.")
    return range(first_seed, first_seed + identities)


def check_seeds(seeds: Sequence[int], *, reserved: bool = False) -> None:
    """Refuse seeds that a set cannot have.

    Args:
        seeds: One per identity.
        reserved: Allow evaluation seeds. Never for a set that something is trained on.

    Raises:
        UserError: If there is none, one comes twice or is negative, or one is reserved.
    """
    if not len(seeds):
        raise UserError("A set needs at least one identity: give one seed or more.")
    if len(set(seeds)) != len(seeds):
        raise UserError("A seed comes twice: give each identity a seed of its own.")
    if min(seeds) < 0:
        raise UserError(f"Seed {min(seeds)} is negative: seeds start at 0.")
    if max(seeds) >= RESERVED_SEED and not reserved:
        raise UserError(
            f"Seed {max(seeds)} is reserved for evaluation: stay below {RESERVED_SEED}, "
            "or say reserved=true if nothing will be trained on this set."
        )
