"""Run folders: opened for a new run or one to go on with, by one process at a time."""

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from yaml import YAMLError

from pixelsmile.checkpoints import newest_whole, remove_partial, set_aside
from pixelsmile.errors import UserError
from pixelsmile.files import whole_file

CHECKPOINTS = "checkpoints"
AUTO = "auto"


@contextmanager
def open_run(config: DictConfig) -> Iterator[tuple[Path, Path | None]]:
    """Yield the run's folder and the checkpoint to go on from, if any; no other process may enter.

    `resume` is null for a new run, the folder of an earlier one, or `auto`: the newest unfinished
    run of the same name and domain, or a new run where there is none. A run that was stopped
    before its first checkpoint starts from the beginning.

    Raises:
        UserError: If there is no run to resume, all its checkpoints are torn, another process
            trains it, or the folder of the new run holds one already.
    """
    run, goes_on = _choose(config)
    run.mkdir(parents=True, exist_ok=True)
    with locked(run):
        checkpoint = checkpoint_of(run) if goes_on else None
        if checkpoint and (changed := changed_settings(run, config)):
            _say(f"{run} goes on with other settings than before: {', '.join(changed)}.")
        with whole_file(run / "config.yaml") as file:
            file.write(OmegaConf.to_yaml(config, resolve=True).encode())
        _point_to(run)
        yield run, checkpoint


def _choose(config: DictConfig) -> tuple[Path, bool]:
    """Return the folder of the run, and whether it goes on."""
    fresh = Path(config.paths.runs) / config.name
    if config.resume == AUTO:
        found = newest_run(fresh.parent, config.name, config.domain.name)
        return (_new(fresh), False) if found is None else (found, True)
    if config.resume is None:
        return _new(fresh), False
    run = Path(config.resume)
    if not (run / "config.yaml").is_file():
        raise UserError(f"Nothing to resume: {run} holds no run. Start without resume=.")
    return run.resolve(), True  # the folder itself, or `latest` would come to point to `latest`


def _point_to(run: Path) -> None:
    """Let `latest` beside the run point to it."""
    temporary = run.parent / f".latest-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(run.name)
    temporary.replace(run.parent / "latest")


def _new(run: Path) -> Path:
    """Return the folder of a new run, which must not hold one that is worth keeping."""
    if (run / "metrics.json").exists():
        raise UserError(f"{run} holds a finished run: choose another name=.")
    if any((run / CHECKPOINTS).glob("*.ckpt")):
        raise UserError(
            f"{run} holds a run that was stopped: go on with resume={run} or resume=auto, or "
            "choose another name=."
        )
    return run


def checkpoint_of(run: Path) -> Path | None:
    """Return the newest whole checkpoint of a run, None where none was ever written.

    Torn ones that are newer are set aside, with a sentence.

    Raises:
        UserError: If all are torn.
    """
    folder = run / CHECKPOINTS
    remove_partial(folder)
    checkpoint, torn = newest_whole(folder)
    if torn and checkpoint is None:
        names = ", ".join(path.name for path in torn)
        raise UserError(
            f"No checkpoint in {folder} is whole ({names}): delete the folder to train from the "
            "beginning, or start a new run without resume=."
        )
    for path in torn:
        assert checkpoint is not None
        _say(f"{path} is torn and passed over: going on from {checkpoint.name}.")
        set_aside(path)
    return checkpoint


def newest_run(runs: Path, name: str, domain: str) -> Path | None:
    """Return the unfinished run of this name and domain that was written to last, if any.

    The time stamp that ends a default name does not count as part of it. A run that another
    process is training is passed over.
    """
    found = [
        config.parent
        for config in runs.glob("*/config.yaml")
        if not config.parent.is_symlink()
        and _stem(config.parent.name) == _stem(name)
        and _domain(config) == domain
        and not (config.parent / "metrics.json").exists()
        and not is_locked(config.parent)
    ]
    return max(found, key=_touched, default=None)


def changed_settings(run: Path, config: DictConfig) -> list[str]:
    """Return what is set differently than when the run was started last, as `key (was value)`."""
    before = _settings(OmegaConf.create((run / "config.yaml").read_text()))
    now = _settings(config)
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return [f"{key} (was {before.get(key)})" for key in keys if key not in ("name", "resume")]


def _settings(node: Any, path: str = "") -> dict[str, Any]:
    """Return every value of a config by its dotted key."""
    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if not isinstance(plain, dict):
        return {path: plain}
    parts = [
        _settings(value, f"{path}.{key}" if path else str(key)) for key, value in plain.items()
    ]
    return {key: value for part in parts for key, value in part.items()}


def _stem(name: str) -> str:
    return re.sub(r"-\d{8}-\d{6}$", "", name)


def _domain(config: Path) -> str | None:
    try:
        return OmegaConf.select(OmegaConf.create(config.read_text()), "domain.name")
    except (OmegaConfBaseException, YAMLError, UnicodeDecodeError):
        return None  # not one of ours


def _touched(run: Path) -> int:
    files = [run / "config.yaml", *(run / CHECKPOINTS).glob("*.ckpt")]
    return max(file.stat().st_mtime_ns for file in files)


# ---- one process at a time ------------------------------------------------------------------


@contextmanager
def locked(run: Path, doing: str = "trained") -> Iterator[None]:
    """Keep other processes out of a run; the lock ends with the process, whatever ends it.

    Args:
        run: Its folder.
        doing: What the other process does with it, for the refusal.

    Raises:
        UserError: If another process is at it.
    """
    with (run / ".lock").open("ab") as file:
        if not _lock(file):
            raise UserError(
                f"{run} is being {doing} by another process: wait for it, or choose another name=."
            )
        yield


def is_locked(run: Path) -> bool:
    """Tell whether another process is training a run."""
    try:
        with (run / ".lock").open("r+b") as file:
            return not _lock(file)
    except FileNotFoundError:
        return False


def _lock(file: IO[bytes]) -> bool:
    """Lock a file and return whether that was possible.

    Of the kinds of locks this is the one that forked children, such as loader workers, which may
    outlive the process for seconds, do not share.
    """
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES)  # others: a file system without
    return True


def _say(text: str) -> None:
    Console(stderr=True, soft_wrap=True).print(text, markup=False, highlight=False)
