"""The ablation of Table 3: `python -m pixelsmile.ablate`, or one row, `... ablate loss=hinge`.

Every row is a training like any other (`python -m pixelsmile.train`) over several seeds, scored on
people that no training has seen. What is finished is not done again; a run that was killed goes on.
`prepare` only prepares the data, `report` writes the page of findings from what is on disk.
"""

import filecmp
import json
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from pixelsmile.ablation.document import page, read_notes, results_table
from pixelsmile.ablation.plan import passed_on, plan, rows_of_command, settings
from pixelsmile.ablation.queue import Ended, Run, gpu_names, train_all
from pixelsmile.ablation.record import joined, write_record, write_results
from pixelsmile.ablation.results import Result, collect
from pixelsmile.command import CONFIG_FOLDER, command
from pixelsmile.data.reading import read_data
from pixelsmile.errors import UserError
from pixelsmile.files import whole_file
from pixelsmile.prepare import prepare
from pixelsmile.progress import progress
from pixelsmile.report import write_json
from pixelsmile.runs import is_locked
from pixelsmile.signals import Stopped
from pixelsmile.stack import check_parts, quiet
from pixelsmile.train import train
from pixelsmile.workers import available

_SHARED = ("before", "ceiling")
"""What a run measures before it trains: the same for all rows of a domain and seed. A run checks by
its key whether it holds for itself, see `pixelsmile.baseline`."""


def ablate(config: DictConfig, overrides: Sequence[str]) -> list[Result]:
    """Do the runs that are asked for and not finished; return all results of the table.

    Args:
        config: Of `configs/ablate.yaml`.
        overrides: Those that it was composed with, which also hold for each training.

    Raises:
        UserError: If config or data cannot be used, the table was begun with other settings, or
            runs failed; the others are done by then.
        Stopped: If a signal asked for it; a second start goes on.
    """
    quiet()
    runs = planned(config, overrides)
    missing = [run for run in runs if not run.finished]
    workers = num_workers(config)
    if missing:
        check_parts(_composed(missing[0]))  # before hours of preparation; alike in all rows
    _say(
        f"{len(runs)} runs, {len(runs) - len(missing)} finished before; {workers} at a time. "
        f"Logs in {Path(config.out) / 'logs'}."
    )
    prepare_runs(missing)
    failed = []
    with progress("Training", len(runs), done=len(runs) - len(missing)) as advance:
        for ended in train_all(
            missing, train_one, workers=workers, begin=_begin, gpus=gpu_names(_num_gpus())
        ):
            _keep_shared(ended.run)
            _tell(ended)
            failed += [ended] if ended.code else []
            advance(1)
    results = collect(Path(config.out))
    write_results(Path(config.out), results)
    if failed:
        names = "; ".join(f"{ended.run.log}: {ended.reason}" for ended in failed[:3])
        raise UserError(
            f"{len(failed)} of {len(runs)} runs failed ({names}). The same command does them again."
        )
    return results


def planned(config: DictConfig, overrides: Sequence[str]) -> list[Run]:
    """Return all runs that a command asks for, finished or not.

    Raises:
        UserError: If the table in `out` was begun with other settings, or nothing is to be scored.
    """
    if config.model.scorer is None:
        raise UserError("model.scorer is null, and an ablation compares scores: leave it out.")
    shared = passed_on(overrides)
    rows = rows_of_command(config, overrides)
    _same_settings(Path(config.out), config, shared)
    runs = plan(config, rows, shared)
    for run in runs:
        _composed(run)  # refuses what training does not know before anything is written
    return runs


def _same_settings(out: Path, config: DictConfig, shared: Sequence[str]) -> None:
    """Keep the settings of a table with it, and refuse others.

    Raises:
        UserError: If it was begun with others.
    """
    file, wanted = out / "protocol.json", settings(config, shared)
    out.mkdir(parents=True, exist_ok=True)
    if not file.is_file():
        write_json(file, wanted)
    found = json.loads(file.read_text())
    if changed := [key for key in wanted if found.get(key) != wanted[key]]:
        told = "; ".join(f"{key} {found.get(key)} there, {wanted[key]} now" for key in changed)
        raise UserError(
            f"The table in {out} was begun with other settings ({told}), and rows are only "
            "comparable under the same: choose another folder with out=."
        )


def num_workers(config: DictConfig) -> int:
    """Return how many runs go side by side.

    Raises:
        UserError: If that is no number from 1 up.
    """
    value = config.workers
    if value == "auto":
        return _num_gpus() or min(2, available())
    if type(value) is not int or value < 1:
        raise UserError(f"workers={value}: give a number from 1 up, or auto.")
    return value


def _num_gpus() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def prepare_runs(runs: Sequence[Run]) -> None:
    """Draw, film and encode what runs read, once, before they start side by side."""
    seen = []
    for run in runs:
        config = _composed(run)
        if (needs := (config.data, config.domain)) not in seen:
            seen.append(needs)
            prepare(config, *read_data(config).needed)


def train_one(run: Run) -> None:
    """Do one run: the work of a process."""
    quiet()
    while is_locked(run.folder):  # by one whose parent was killed and that is about to stop
        time.sleep(1)
    if not run.finished:
        train(_composed(run))


def _composed(run: Run) -> DictConfig:
    """Return the config of a training, also where a command has a config of its own open."""
    hydra = GlobalHydra.instance()
    opened = hydra.hydra
    hydra.clear()
    try:
        with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
            return compose("train", list(run.overrides))
    finally:
        hydra.hydra = opened


# ---- the base is measured once for all rows -------------------------------------------------


def _shared_file(run: Run, name: str) -> Path:
    domain, _, rest = run.name.partition("-")
    seed = rest.rpartition("-")[2]  # what is between is the row, whose name may have dashes
    which = f"{domain}-{seed}" if name == "before" else domain
    return run.folder.parent / "base" / f"{which}-{name}.json"


def _begin(run: Run) -> None:
    """Give a run what another has measured already."""
    for name in _SHARED:
        own, known = run.folder / f"{name}.json", _shared_file(run, name)
        if known.is_file() and not own.is_file():
            _copy(known, own)


def _keep_shared(run: Run) -> None:
    """Keep what a run has measured for others; it has measured anew what did not fit it."""
    for name in _SHARED:
        own, known = run.folder / f"{name}.json", _shared_file(run, name)
        if own.is_file() and not (known.is_file() and filecmp.cmp(own, known, shallow=False)):
            _copy(own, known)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, whole_file(target) as write:
        shutil.copyfileobj(read, write)


# ---- what people see ------------------------------------------------------------------------


def _tell(ended: Ended) -> None:
    """Say in a line how a run ended."""
    name, minutes = ended.run.name, ended.seconds / 60
    if ended.code or not ended.run.finished:
        _say(f"{name} failed after {minutes:.1f} min: {ended.reason}")
        return
    after = json.loads((ended.run.folder / "metrics.json").read_text())["after"]
    shown = ", ".join(
        f"{title} {after[key]['value']:.3f}"
        for key, title in (("mscr", "mSCR"), ("acc_12", "Acc-12"), ("id_sim", "ID Sim"))
        if not math.isnan(after[key]["value"])
    )
    _say(f"{name} in {minutes:.1f} min: {shown}")


def show(results: Sequence[Result], out: Path) -> None:
    """Print the table and where to look."""
    console = Console()
    for domain in dict.fromkeys(result.domain for result in results):
        console.print(results_table(results, domain))
    _say(f"Numbers  {out / 'results.json'}, {out / 'results.csv'}")
    _say(f"Curves   tensorboard --logdir {out}")


def _say(text: str) -> None:
    Console(soft_wrap=True).print(text, markup=False, highlight=False)


# ---- commands -------------------------------------------------------------------------------


def _overrides() -> list[str]:
    return list(HydraConfig.get().overrides.task)


def report(config: DictConfig) -> None:
    """Write the page of findings from the record and what is on disk, which joins the record.

    Raises:
        UserError: As `joined` and `read_notes`; or if there is neither a record nor a finished run,
            so that a page of findings is not replaced by one without any.
    """
    quiet()
    out, record = Path(config.out), Path(config.record)
    notes = read_notes(config.notes)
    found = collect(out)
    begun = out / "protocol.json"
    used = json.loads(begun.read_text()) if begun.is_file() else settings(config, [])
    results = joined(record, used, found)
    if not results:
        raise UserError(
            f"No finished run in {out} and no record at {record}, so {config.document} stays as it "
            "is: run python -m pixelsmile.ablate first, or name the files with out= or record=."
        )
    if found:
        write_results(out, found)
        write_record(record, used, results)
    show(results, out)
    with whole_file(config.document) as file:
        file.write(page(config, results, notes).encode())
    _say(f"Findings {config.document}")


def prepare_data(config: DictConfig) -> None:
    """Prepare the data of all rows and train nothing."""
    quiet()
    prepare_runs(planned(config, _overrides()))


@command("ablate", verbs={"report": report, "prepare": prepare_data})
def main(config: DictConfig) -> None:
    """Train and score the rows."""
    try:
        results = ablate(config, _overrides())
    except Stopped as stopped:
        text = f"Stopped by {stopped.signal}. Run the same command again to continue."
        Console(stderr=True, soft_wrap=True).print(text, highlight=False)
        raise
    show(results, Path(config.out))


if __name__ == "__main__":
    main()
