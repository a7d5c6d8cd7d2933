"""FFE-Bench for an adapter, the base, or any folder of images.

`python -m pixelsmile.evaluate domain=anime` edits, judges, compares faces and reports. A second
start with the same name goes on where the first was stopped. `report` writes the report again from
what is on disk, `compare` says whether two runs differ.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

import pixelsmile
from pixelsmile.bench.compare import compare, say, write_comparison
from pixelsmile.bench.editors import Editor
from pixelsmile.bench.folder import BenchFolder, existing_folder, open_folder
from pixelsmile.bench.identity import Landmarks, named
from pixelsmile.bench.protocol import Protocol
from pixelsmile.bench.report import FACES_FROM, SETTINGS, write_report
from pixelsmile.bench.stages import edit_tasks, judge_edits, measure_identity, place_tasks
from pixelsmile.bench.tasks import Task, read_tasks
from pixelsmile.building import build
from pixelsmile.command import command
from pixelsmile.errors import UserError
from pixelsmile.files import whole_file
from pixelsmile.judges import build_judge
from pixelsmile.judges.remote import RemoteJudge
from pixelsmile.lora.facts import code_commit
from pixelsmile.scoring import METRIC_TITLES
from pixelsmile.stack import quiet

_SHOWN = 5


def evaluate(config: DictConfig) -> dict[str, Any]:
    """Run every stage that is not done yet, and return the content of metrics.json.

    Args:
        config: Of `configs/evaluate.yaml`.

    Raises:
        UserError: If tasks, editor, judge or folder cannot be used.
    """
    quiet()
    protocol: Protocol = build(config.protocol)
    tasks = read_tasks(
        build(config.tasks.file),
        domain=config.domain.name,
        follow_links=config.tasks.follow_links,
    )
    path = Path(config.paths.runs) / "evaluate" / config.name
    judge = build_judge(config.judge, path / "judge.jsonl")
    landmarks: Landmarks = build(config.landmarks)(tasks)
    recognisers = [build(node) for node in config.model.scorer.recognisers]
    editor: Editor = build(config.editor)(config)
    record = {
        "label": editor.label,
        "domain": config.domain.name,
        "tasks": [[task.name, *task.key] for task in tasks],
        "protocol": graded(protocol, editor).describe(),
        "editor": editor.describe(),
        "judge": judge.describe(),
        "prices": asdict(judge.prices) if isinstance(judge, RemoteJudge) else None,
        "repeats": config.repeat,
        "recognisers": named(recognisers),
        "landmarks": landmarks.describe(),
        "versions": {
            "pixelsmile": pixelsmile.__version__,
            "commit": code_commit(),
            "torch": torch.__version__,
        },
    }
    with open_folder(path, record) as folder:
        with whole_file(path / "config.yaml") as file:
            file.write(OmegaConf.to_yaml(config).encode())
        folder = place_tasks(folder, tasks, editor)
        edit_tasks(folder, tasks, editor, protocol.seed)
        tell_strangers(editor, tasks)
        del editor  # its memory is for the judge
        judge_edits(folder, judge, config.repeat)
        measure_identity(folder, landmarks, recognisers)
        return write_report(folder)


def graded(protocol: Protocol, editor: Editor) -> Protocol:
    """Return the protocol without linear control where the editor knows no strengths."""
    if editor.graded:
        return protocol
    return Protocol(protocol.strength, 0, protocol.strength_max, protocol.seed)


def tell_strangers(editor: Editor, tasks: Sequence[Task]) -> None:
    """Name the files of a folder that are no edit of any task, so that a typo is seen."""
    found = getattr(editor, "belong_to_none", None)
    strangers = found(tasks) if found is not None else []
    if strangers:
        more = f" and {len(strangers) - _SHOWN} more" if len(strangers) > _SHOWN else ""
        _say(f"{len(strangers)} files belong to no task: {', '.join(strangers[:_SHOWN])}{more}.")


# ---- what people see ------------------------------------------------------------------------


def results_table(summary: dict[str, Any]) -> Table:
    """Return the numbers of a run for the terminal."""
    table = Table(title=f"FFE-Bench, {summary['domain']}: {summary['label']}")
    table.add_column("setting")
    table.add_column("metric")
    for title in ("value", "95 %", "n"):
        table.add_column(title, justify="right")
    for setting, *_ in SETTINGS:
        for name, number in summary[setting].items():
            table.add_row(
                setting,
                METRIC_TITLES[name],
                f"{number['value']:.3f}",
                f"[{number['low']:.3f}, {number['high']:.3f}]",
                f"{number['n']} of {number['of']}",
            )
    return table


def coverage_line(summary: dict[str, Any]) -> str:
    """Return what became of the edits, in one line."""
    counts = summary["coverage"]
    edits, seen, faces = counts["edits"], counts["seen"], counts["identity"]
    parts = [
        f"{edits['made']} of {edits['total']} edits, {edits['missing']} missing"
        f"{_named(summary['missing'])}"
        + (f", {edits['unreadable']} unreadable" if edits["unreadable"] else "")
        + _named(summary["unreadable"]),
        f"judged {_fates(counts['judge'])}",
    ]
    if summary["repeats"] > 1:
        parts.append(f"answers {_fates(counts['answers'])}")
    if seen["nothing"]:
        parts.append(f"nothing seen in {seen['nothing']}, which counts as wrong")
    if seen["tied"]:
        parts.append(f"highest score tied in {seen['tied']}, the first counts")
    parts.append(
        f"{faces['ok']} faces compared, {faces['no_face']} without a face, "
        f"{faces['pending']} not yet ({FACES_FROM[summary['landmarks']['kind']]})"
    )
    return "; ".join(parts) + "."


def _named(names: Sequence[str]) -> str:
    """Return some names in brackets, nothing where there are none."""
    more = ", ..." if len(names) > _SHOWN else ""
    return f" ({', '.join(names[:_SHOWN])}{more})" if names else ""


def _fates(counts: Mapping[str, int]) -> str:
    return (
        f"{counts['ok']} ok, {counts['invalid']} invalid, {counts['refused']} refused, "
        f"{counts['pending']} not yet"
    )


def show(summary: dict[str, Any], folder: Path) -> None:
    """Print numbers, coverage and where the report is."""
    Console().print(results_table(summary))
    _say(coverage_line(summary))
    _say(f"Report  {folder / 'report.html'}")


def _say(text: str) -> None:
    Console(soft_wrap=True).print(text, markup=False, highlight=False)


# ---- commands -------------------------------------------------------------------------------


def run(config: DictConfig) -> None:
    """Evaluate and report."""
    show(evaluate(config), Path(config.paths.runs) / "evaluate" / config.name)


def report(config: DictConfig) -> None:
    """Write the report of a run again, from its files alone."""
    folder = existing_folder(config.dir)
    others: list[BenchFolder] = [existing_folder(path) for path in config.beside]
    show(write_report(folder, others), folder.path)


def compare_runs(config: DictConfig) -> None:
    """Say whether two runs differ.

    Raises:
        UserError: If there are not two.
    """
    if len(config.runs) != 2:
        raise UserError(
            f"compare takes two runs, got {len(config.runs)}: "
            "python -m pixelsmile.evaluate compare RUN RUN."
        )
    first, second = map(existing_folder, config.runs)
    comparison = compare(first, second)
    say(comparison, Console())
    if config.out is not None:
        write_comparison(comparison, Path(config.out))


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """Write arguments that people type as the overrides that Hydra reads.

    Bare words after `compare` are its runs, a bare word after `report` is its folder, also where
    the name of that folder has an equals sign; braces in a pattern, which Hydra takes for a
    dictionary, are quoted.

    Example:
        >>> spelled_out(["compare", "runs/a", "runs/b"])
        ['compare', "runs=['runs/a','runs/b']"]
        >>> spelled_out(["pattern={id}_{expression}.png"])
        ["pattern='{id}_{expression}.png'"]
    """
    verb = arguments[0] if arguments and arguments[0] in VERBS else None
    words, bare = [], []
    for word in arguments[1:] if verb else arguments:
        key, equals, value = word.partition("=")
        bare_word = (not equals or Path(word).is_dir()) and not word.startswith("-")
        if verb and bare_word:
            bare.append(word)
        elif equals and key in ("pattern", "dir", "out"):
            words.append(f"{key}={_quoted(value)}")
        else:
            words.append(word)
    if bare and verb == "compare":
        words.append(f"runs=[{','.join(map(_quoted, bare))}]")
    elif bare:
        words.append(f"dir={_quoted(bare[0])}")
    return [*([verb] if verb else []), *words]


def _quoted(value: str) -> str:
    if value == "null" or (len(value) > 1 and value[0] == value[-1] and value[0] in "'\""):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


VERBS = {"report": report, "compare": compare_runs}


@command("evaluate", verbs=VERBS)
def _main(config: DictConfig) -> None:
    run(config)


def main() -> None:
    """Evaluate, report or compare."""
    sys.argv[1:] = spelled_out(sys.argv[1:])
    _main()


if __name__ == "__main__":
    main()
