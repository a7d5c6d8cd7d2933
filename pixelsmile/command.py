"""How every command starts: a Hydra config by name, readable refusals, a clean Ctrl-C."""

import difflib
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from pixelsmile.errors import UserError, friendly

CONFIG_FOLDER = Path(__file__).resolve().parent.parent / "configs"
"""The config folder of the checkout."""

Main = Callable[[DictConfig], None]


class EndedError(SystemExit):
    """A command has done its work and its exit code is the answer, not a refusal by Hydra."""


def command(
    config: str, *, next_step: str = "", verbs: Mapping[str, Main] | None = None
) -> Callable[[Main], Callable[[], None]]:
    """Make a command of a function that takes the composed config.

    Hydra itself lists the choices of a group; for a misspelt key this adds the keys that exist.
    Mistakes that the user can mend end as one line, see `pixelsmile.errors.friendly`.

    Args:
        config: Path of the config below `configs`, without the suffix: "train", "faces/faces".
        next_step: What Ctrl-C and a full disk tell the user to do, if not to run it again.
        verbs: Other things the command does, chosen by a bare first word: `prepare status`.
    """
    path = CONFIG_FOLDER / config
    verbs = verbs or {}

    def decorate(main: Main) -> Callable[[], None]:
        start = hydra.main(version_base="1.3", config_path=str(path.parent), config_name=path.name)

        @wraps(main)
        def entry() -> None:
            with friendly():
                chosen = take_verb(sys.argv, verbs) or main
                guard = friendly(next_step) if next_step else friendly()
                begun: list[bool] = []

                @guard
                @wraps(chosen)
                def guarded(config: DictConfig) -> None:
                    begun.append(True)
                    chosen(config)

                try:
                    start(guarded)()
                except SystemExit as stop:
                    if stop.code == 1 and not begun:  # the config itself was refused
                        _suggest_keys(path)
                    raise

        # Hydra describes the command by its module; `wraps` would otherwise keep the bare function.
        del entry.__wrapped__  # type: ignore[attr-defined]
        return entry

    return decorate


def take_verb(arguments: list[str], verbs: Mapping[str, Main]) -> Main | None:
    """Take a bare first word off the arguments of a command, and return what it stands for.

    Raises:
        UserError: If the command has verbs and this word is none of them.

    Example:
        >>> arguments = ["prepare", "status", "domain=anime"]
        >>> take_verb(arguments, {"status": print}) is print, arguments
        (True, ['prepare', 'domain=anime'])
    """
    if not verbs or len(arguments) < 2 or not arguments[1].isidentifier():
        return None
    word = arguments[1]
    if word not in verbs:
        raise UserError(f"Unknown word {word!r}: choose one of {', '.join(verbs)}, or none.")
    del arguments[1]
    return verbs[word]


def _suggest_keys(path: Path) -> None:
    """After Hydra's refusal, list the keys beside each overridden key that does not exist."""
    try:
        given = OverridesParser.create().parse_overrides(
            [word for word in sys.argv[1:] if "=" in word and not word.startswith("-")]
        )
        # With the groups that were chosen: other data, say, has other keys.
        groups = [item for item in given if (path.parent / item.key_or_group).is_dir()]
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(path.parent), version_base="1.3"):
            known = compose(path.name, [str(item.input_line) for item in groups])
    except (HydraException, ValueError):
        return  # Hydra has already said what is wrong
    for item in given:
        if item in groups or item.is_add() or item.is_force_add() or _is_hydras(item.key_or_group):
            continue
        if hint := unknown_key_hint(known, item.key_or_group, path.parent):
            Console(stderr=True, soft_wrap=True).print(hint, markup=False, highlight=False)


def _is_hydras(key: str) -> bool:
    """Tell whether a key is a setting of Hydra, none of the config."""
    return key.partition(".")[0].partition("/")[0] == "hydra"


def unknown_key_hint(config: DictConfig, key: str, folder: Path) -> str | None:
    """Return a line that lists the keys beside an unknown one, or None where the key exists.

    Example:
        >>> config = OmegaConf.create({"trainer": {"max_steps": 5}})
        >>> unknown_key_hint(config, "trainer.max_step", Path("configs"))
        "No key 'trainer.max_step': did you mean trainer.max_steps? Keys of trainer: max_steps."
    """
    if (folder / key).is_dir():
        return None  # a group: Hydra has listed its choices
    node, parents, parts = config, [], key.split(".")
    for part in parts:
        names = [str(name) for name in node] if isinstance(node, DictConfig) else []
        if part not in names:
            break
        parents.append(part)
        if len(parents) < len(parts):  # the value of the key itself may refer to nothing yet
            node = OmegaConf.select(node, part)
    else:
        return None
    groups = [] if parents else [item.name for item in folder.iterdir() if item.is_dir()]
    names = sorted({*names, *groups} - {"hydra"})
    near = difflib.get_close_matches(part, names, n=1)
    guess = f" did you mean {'.'.join([*parents, *near])}?" if near else ""
    where = f" of {'.'.join(parents)}" if parents else ""
    return f"No key {key!r}:{guess} Keys{where}: {', '.join(names)}."
