"""Make a judge from its config, with readable refusals."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pixelsmile.building import build
from pixelsmile.errors import UserError
from pixelsmile.judges.base import Judge

_SECRETS = ("api_key", "apikey", "key", "token", "password", "authorization")


def build_judge(config: DictConfig, ledger: Path | None = None) -> Judge:
    """Return the judge of a config in `configs/judge`.

    Args:
        config: With `_target_`.
        ledger: File that receives the answers, for judges that write one; None: as configured.

    Raises:
        UserError: If a key, a package, a folder or a setting is missing or wrong, or if a secret
            stands in the config, from where it would get into files.
    """
    for name in _names(OmegaConf.to_container(config)):
        if name.lower() in _SECRETS:
            raise UserError(
                f"judge has {name!r} in its config, which is saved with the run: remove it and "
                "export the key in the environment."
            )
    missing = OmegaConf.missing_keys(config)
    if missing:
        name = sorted(missing)[0].removeprefix("judge.")
        raise UserError(f"Set judge.{name}=... for this judge.")
    more = {"ledger": ledger} if ledger is not None and "ledger" in config else {}
    return build(config, **more)


def _names(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [str(name) for name in node] + [x for value in node.values() for x in _names(value)]
    if isinstance(node, list):
        return [name for value in node for name in _names(value)]
    return []
