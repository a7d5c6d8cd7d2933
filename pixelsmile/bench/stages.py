"""The stages before the report: edit, judge, identity. Each goes on where it was stopped."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.console import Console
from torch import nn

from pixelsmile.bench.editors import Editor, Unreadable, png_bytes
from pixelsmile.bench.folder import BenchFolder, keep_tasks, keep_unreadable
from pixelsmile.bench.identity import Landmarks, compare_faces, find_faces
from pixelsmile.bench.tasks import Task
from pixelsmile.errors import UserError
from pixelsmile.files import whole_file
from pixelsmile.judges.base import Judge, Judgement, JudgeRequest, load_picture, named_scores
from pixelsmile.judges.ledger import Ledger, now
from pixelsmile.progress import progress


def place_tasks(folder: BenchFolder, tasks: list[Task], editor: Editor) -> BenchFolder:
    """Keep the tasks as the editor sees them."""
    sources = {}
    for task in tasks:
        picture, points = editor.source(task)
        sources[task.name] = (png_bytes(picture), points)
    return keep_tasks(folder, tasks, sources)


def edit_tasks(folder: BenchFolder, tasks: Sequence[Task], editor: Editor, seed: int) -> None:
    """Make the edits that are not there yet; each file is there whole or not at all.

    What an editor has and cannot read stops nothing; it is noted, and tried again next time.

    Args:
        folder: Open.
        tasks: As they were read, before any resizing.
        editor: Makes them.
        seed: Of the noise.

    Raises:
        UserError: If the editor has not a single one.
    """
    todo = {
        task: [s for s in folder.strengths if not folder.edit(task.name, s).is_file()]
        for task in tasks
    }
    total = len(tasks) * len(folder.strengths)
    missing = sum(map(len, todo.values()))
    unreadable: dict[str, str] = {}
    if missing:
        with progress("Editing", total, done=total - missing) as advance:
            for task, strengths in todo.items():
                if strengths:
                    made = editor.edits(task, strengths, seed)
                    for strength, data in zip(strengths, made, strict=True):
                        if isinstance(data, Unreadable):
                            unreadable[folder.edit(task.name, strength).name] = data.reason
                        else:
                            _write(folder, task, strength, data)
                    advance(len(strengths))
    keep_unreadable(folder, unreadable)
    if not any(path.is_file() for _, _, path in folder.edits()):
        if unreadable:
            first = next(iter(unreadable.values()))
            raise UserError(f"{len(unreadable)} of {total} edits are there, none whole: {first}")
        example = folder.edit(tasks[0].name, folder.record["protocol"]["strength"]).name
        raise UserError(
            f"None of the {total} edits is there, such as {example}: check that ids, expressions "
            "and strengths of the files are those of the tasks."
        )


def _write(folder: BenchFolder, task: Task, strength: float, data: bytes | None) -> None:
    if data is not None:
        with whole_file(folder.edit(task.name, strength)) as file:
            file.write(data)


def requests_for(folder: BenchFolder, repeats: int) -> Iterator[JudgeRequest]:
    """Yield what the judge is asked: every edit that is there, so many times."""
    for repeat in range(repeats):
        for _, _, path in folder.edits():
            if path.is_file():
                yield JudgeRequest(image=path, id=path.name, repeat=repeat)


def judge_edits(folder: BenchFolder, judge: Judge, repeats: int) -> None:
    """Let the judge score every edit; its ledger keeps what it said.

    Args:
        folder: Its edits are there.
        judge: Writes to `folder.judge_ledger`.
        repeats: How often each edit is judged.
    """
    requests = list(requests_for(folder, repeats))
    if not requests:
        return
    _say_if_paid("Before judging", judge, "estimate", requests)
    judgements = []
    with progress("Judging", len(requests)) as advance:
        for judgement in judge.judge_files(requests):
            judgements.append(judgement)
            advance(1)
    _keep(folder, judge, requests, judgements)
    _say_if_paid("Judged", judge, "totals")


def _say_if_paid(title: str, judge: Judge, question: str, *arguments: object) -> None:
    """Print what a judge that counts tokens says about its costs."""
    answer = getattr(judge, question, None)
    if answer is not None:
        Console(soft_wrap=True).print(f"{title}: {answer(*arguments)}", highlight=False)


def _keep(
    folder: BenchFolder,
    judge: Judge,
    requests: Sequence[JudgeRequest],
    judgements: Sequence[Judgement],
) -> None:
    """Write down the answers of a judge that has no ledger of its own, as `replay`."""
    described = judge.describe()
    with Ledger(folder.judge_ledger) as ledger:
        rows = {
            judgement.key: {
                "key": judgement.key,
                "id": judgement.id,
                "repeat": judgement.repeat,
                "image": load_picture(request).digest,
                "judge": described["id"],
                "settings": described["settings"],
                "prompt": described["prompt_hash"],
                "status": judgement.status,
                "reason": judgement.reason,
                "scores": named_scores(judgement.scores),
                "raw": judgement.raw,
                "usage": judgement.usage and asdict(judgement.usage),
                "time": now(),
            }
            for request, judgement in zip(requests, judgements, strict=True)
            if judgement.key not in ledger.answers
        }
        ledger.add(rows.values())


def measure_identity(
    folder: BenchFolder, landmarks: Landmarks, recognisers: Sequence[nn.Module]
) -> None:
    """Find the faces and compare them."""
    find_faces(folder, landmarks)
    compare_faces(folder, landmarks.describe(), recognisers)
