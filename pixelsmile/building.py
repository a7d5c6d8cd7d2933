"""Make what a config describes; mistakes that a user can mend come out as they were raised."""

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from pixelsmile.errors import UserError


def build(node: Any, **more: Any) -> Any:
    """Make what a config describes; what is no config, such as None, is returned as it is.

    Args:
        node: With `_target_`.
        more: Further arguments of the target.

    Raises:
        UserError: If that is what stopped it; Hydra alone wraps it into an error of its own.
    """
    if not OmegaConf.is_config(node):
        return node
    try:
        return instantiate(node, **more)
    except InstantiationException as error:
        if (refusal := _refusal_in(error)) is not None:
            raise refusal from None
        raise


def _refusal_in(error: BaseException | None) -> UserError | None:
    """Return the first refusal in a chain of causes."""
    while error is not None:
        if isinstance(error, UserError):
            return error
        error = error.__cause__
    return None
