"""The command from images to report, without an editing model: a folder of images is edited."""

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_object

from pixelsmile import evaluate as command
from pixelsmile.bench import stages
from pixelsmile.bench.compare import compare
from pixelsmile.bench.folder import existing_folder
from pixelsmile.bench.identity import DetectedLandmarks
from pixelsmile.bench.report import as_json, write_report
from pixelsmile.bench.tasks import read_tasks
from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.errors import UserError
from pixelsmile.evaluate import evaluate, spelled_out
from pixelsmile.expressions import EXPRESSIONS
from tests.bench import tables

PATTERN = "{id}_{expression}_{strength}.png"
QUICK = f"model.scorer.recognisers={tables.CHEAP}"
ASKED = [*EXPRESSIONS, "fear", "surprised"]


def configured(root: Path, stack: Path, *overrides: str, judge: tuple[str, ...] = ()):
    words = [
        "editor=folder",
        f"dir={root / 'out'}",
        f"pattern='{PATTERN}'",
        "tasks=ffe_bench",
        f"tasks.file={root / 'in' / 'tasks.jsonl'}",
        "protocol.num_strengths=3",
        f"model.weights={stack}",
        *(judge or [f"judge.folder={stack / 'judge'}"]),
        f"paths.runs={root / 'runs'}",
        f"paths.data={root / 'data'}",
        "name=run",
        *overrides,
    ]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return compose("evaluate", words)


def prepared(root: Path, **settings) -> list:
    tables.write_tasks(root / "in", ASKED, **settings)
    tasks = read_tasks(root / "in" / "tasks.jsonl", domain="human")
    tables.write_edits(root / "out", tasks)
    return tasks


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_stack):
    """The folder of a whole run with two images missing; do not change it."""
    root = tmp_path_factory.mktemp("bench")
    prepared(root)
    (root / "out" / "p3_confident_0.50.png").unlink()
    (root / "out" / "p5_fear_1.00.png").unlink()
    (root / "out" / "stray.png").write_bytes(b"")
    evaluate(configured(root, tiny_stack))
    return root / "runs" / "evaluate" / "run"


@pytest.fixture
def copied(finished, tmp_path):
    """A run of one's own."""
    return shutil.copytree(finished, tmp_path / "runs" / "evaluate" / "run")


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def choices(*groups: str) -> list[str]:
    return [
        f"{group}={file.stem}"
        for group in groups
        for file in sorted((CONFIG_FOLDER / group).glob("*.yaml"))
    ]


@pytest.mark.parametrize("choice", choices("editor", "tasks", "landmarks", "judge", "domain"))
def test_every_choice_composes_and_names_things_that_exist(choice):
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = compose("evaluate", ["tasks.file=tasks.jsonl", "paths.weights=weights", choice])
    for group in ("editor", "landmarks", "judge", "protocol"):
        assert callable(get_object(config[group]._target_))
    assert config.name == f"{config.domain.name}-{config.editor.label}"


# ---- a whole run ----------------------------------------------------------------------------


def test_every_stage_keeps_its_raw_output(finished):
    total = 3 * len(ASKED) - 2
    assert len(list((finished / "edits").glob("*.png"))) == total
    assert len((finished / "judge.jsonl").read_text().splitlines()) == total
    for name in ("arcface", "adaface", "facenet"):
        rows = (finished / "identity" / f"{name}.jsonl").read_text().splitlines()
        assert len(rows) == total
        assert all(-1 <= json.loads(row)["cosine"] <= 1 for row in rows)
    wanted = {"report.md", "report.html", "metrics.json", "metrics.csv", "images.csv"}
    wanted |= {"confusion.png", "trade_off.png", "config.yaml", "run.json", "tasks.jsonl"}
    assert wanted <= set(files(finished))


def test_missing_images_are_counted_and_named_and_files_of_no_task_too(finished, capsys):
    numbers = json.loads((finished / "metrics.json").read_text())
    assert numbers["missing"] == ["p3_confident_0.5.png", "p5_fear_1.0.png"]
    assert numbers["coverage"]["edits"] == {
        "total": 42,
        "made": 40,
        "missing": 2,
        "unreadable": 0,
    }
    assert numbers["general"]["acc_12"]["n"] == 13
    assert numbers["general"]["acc_12"]["of"] == 14
    assert numbers["linear"]["cls_12"]["n"] == 12
    for name in ("report.md", "report.html"):
        text = (finished / name).read_text()
        assert "p3_confident_0.5.png" in text
        assert "13" in text
    command.show(numbers, finished)
    assert "2 missing (p3_confident_0.5.png, p5_fear_1.0.png)" in capsys.readouterr().out


def test_the_csv_has_a_line_an_edit_whose_cosines_are_those_of_the_models(finished):
    with (finished / "images.csv").open() as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert len(rows) == 42
    assert rows["p5_fear_1.0.png"]["judged"] == "missing"
    assert rows["p5_fear_1.0.png"]["similarity"] == ""
    for name in ("arcface", "facenet"):
        lines = map(json.loads, (finished / "identity" / f"{name}.jsonl").read_text().splitlines())
        for line in lines:
            assert float(rows[Path(line["image"]).name][name]) == line["cosine"]
    row = rows["p0_angry_1.0.png"]
    each = [float(row[name]) for name in ("arcface", "adaface", "facenet")]
    assert float(row["similarity"]) == pytest.approx(sum(each) / 3)
    assert row["seen"] == max(EXPRESSIONS, key=lambda name: float(row[name]))


def test_cosines_are_those_of_the_recogniser_on_the_source_and_the_edit(finished, tiny_stack):
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor

    from pixelsmile.models.recognisers import onnx_recogniser

    folder = existing_folder(finished)
    recogniser = onnx_recogniser(tiny_stack / "recognisers" / "adaface.onnx")
    task = folder.tasks[0]
    points = torch.tensor([task.landmarks])
    faces = [
        recogniser(pil_to_tensor(Image.open(path))[None] / 127.5 - 1, points)[0]
        for path in (task.image, folder.edit(task.name, 1.0))
    ]
    row = json.loads((finished / "identity" / "adaface.jsonl").read_text().splitlines()[2])
    assert row["image"] == "edits/p0_angry_1.0.png"
    assert row["cosine"] == pytest.approx(float(faces[0] @ faces[1]), abs=1e-6)


def test_the_html_is_one_file_that_fetches_nothing_and_escapes_names(copied):
    record = json.loads((copied / "run.json").read_text())
    record["label"] = "<script>alert(1)</script>"
    (copied / "run.json").write_text(json.dumps(record))
    write_report(existing_folder(copied))
    text = (copied / "report.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    sources = re.findall(r'src="([^"]{0,40})', text)
    assert len(sources) > 20
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not re.search(r"<link|@import|url\(http|src=\"http", text)
    for kind in ("best", "median", "worst"):
        assert f"<h3>{kind}</h3>" in text


def test_the_tables_of_the_paper_stand_beside_ours_as_printed(finished):
    text = (finished / "report.md").read_text()
    assert "| Ours (paper) | Gemini 3 Pro | 0.0550 | 0.8627 | 0.6000 | 0.6522 |" in text
    assert (
        "| ConceptSlider (paper) | Gemini 3 Pro | 0.3161* | \N{EN DASH} | 0.6250 | 0.3656 |" in text
    )
    assert re.search(r"\| \*\*folder\*\* \| tiny \| .*n 5/6 .*n 13/14", text)


def test_the_report_is_made_again_offline_with_the_same_bytes(copied, monkeypatch):
    before = files(copied)
    for name in ("report.md", "report.html", "metrics.json", "images.csv", "trade_off.png"):
        (copied / name).unlink()
    monkeypatch.setattr(torch.nn.Module, "__call__", None)  # no network is asked
    monkeypatch.setattr(sys, "argv", ["evaluate", "report", str(copied)])
    command.main()
    assert files(copied) == before


def test_a_second_start_does_nothing_again(finished, copied, tiny_stack, monkeypatch):
    shutil.copytree(finished.parents[2] / "in", copied.parents[2] / "in")
    shutil.copytree(finished.parents[2] / "out", copied.parents[2] / "out")
    record = json.loads((copied / "run.json").read_text())
    record["editor"]["dir"] = str(copied.parents[2] / "out")
    (copied / "run.json").write_text(json.dumps(record))
    written = []
    monkeypatch.setattr(stages, "_write", lambda *arguments: written.append(arguments[-1]))
    before = files(copied)
    evaluate(configured(copied.parents[2], tiny_stack))
    assert written == [None, None]  # the two that are missing
    for name, data in files(copied).items():
        if name.endswith((".png", ".jsonl", "metrics.csv", "images.csv")) and "tasks" not in name:
            assert data == before[name], name


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("protocol.strength_max=1.5", "another protocol: linear"),
        ("protocol.seed=1", "another protocol: seed 0 there, 1 now"),
        ("pattern='{expression}/{id}_{strength}.png'", "another editor|No file below"),
    ],
)
def test_a_folder_of_other_settings_is_refused(finished, tiny_stack, override, message):
    with pytest.raises(UserError, match=message):
        evaluate(configured(finished.parents[2], tiny_stack, override, QUICK))


def test_edits_that_are_all_missing_are_refused_with_an_example(tmp_path, tiny_stack):
    prepared(tmp_path)
    for path in (tmp_path / "out").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    with pytest.raises(UserError, match=r"None of the 42 edits is there, such as p0_angry_1.0.png"):
        evaluate(configured(tmp_path, tiny_stack, QUICK))


# ---- judges and faces that fail -------------------------------------------------------------


class NoFaceOnSome:
    """A detector that finds a face in every image but the brighter ones."""

    identity = "some"
    looks = True

    def __call__(self, image, box=None):
        import numpy as np

        if np.asarray(image).mean() > 127.5:
            return None
        share = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.75), (0.65, 0.75))
        return tuple((image.width * x, image.height * y) for x, y in share)


def test_faces_that_are_not_found_are_counted_and_enter_no_mean(tmp_path, tiny_stack, monkeypatch):
    prepared(tmp_path)
    monkeypatch.setattr(
        "pixelsmile.bench.identity.always_detected",
        lambda tasks, detector: DetectedLandmarks(NoFaceOnSome()),
    )
    numbers = evaluate(configured(tmp_path, tiny_stack, "landmarks=detected", QUICK))
    faces = numbers["coverage"]["identity"]
    assert faces["no_face"] == len(numbers["without_face"]) > 5
    assert faces["ok"] + faces["no_face"] == 42
    assert numbers["general"]["id_sim"]["n"] < numbers["general"]["id_sim"]["of"] == 14
    with (tmp_path / "runs" / "evaluate" / "run" / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    known = [float(row["similarity"]) for row in rows if row["similarity"]]
    assert len(known) == faces["ok"]
    assert not [value for value in known if value in (0.0, 1.0)]
    assert f"{faces['no_face']} without a face" in command.coverage_line(numbers)
    assert "a face looked for in every image" in command.coverage_line(numbers)


def test_answers_without_scores_are_counted_and_replay_gives_the_same_report(
    copied, finished, tiny_stack
):
    rows = [json.loads(line) for line in (copied / "judge.jsonl").read_text().splitlines()]
    for row, status in zip(rows[:3], ("invalid", "refused", "refused"), strict=True):
        row |= {"status": status, "scores": None}
    (copied / "judge.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    numbers = write_report(existing_folder(copied))
    assert numbers["coverage"]["judge"] == {"ok": 37, "invalid": 1, "refused": 2, "pending": 0}
    assert numbers["without_scores"]["invalid"] == ["p0_angry_0.0.png"]
    assert numbers["coverage"]["answers"] == numbers["coverage"]["judge"]  # one an edit

    root = finished.parents[2]
    replayed = evaluate(
        configured(
            root,
            tiny_stack,
            "name=replayed",
            QUICK,
            judge=("judge=replay", f"judge.file={copied / 'judge.jsonl'}"),
        )
    )
    again = root / "runs" / "evaluate" / "replayed"
    for name in ("acc_6", "acc_12"):
        assert replayed["general"][name] == numbers["general"][name]
    assert replayed["coverage"]["judge"] == numbers["coverage"]["judge"]
    assert (again / "judge.jsonl").is_file()  # its own raw output, so that it stands alone
    assert as_json(write_report(existing_folder(again))) == as_json(replayed)


def test_scores_that_are_all_0_are_nothing_seen_in_every_file_of_the_report(copied):
    rows = [json.loads(line) for line in (copied / "judge.jsonl").read_text().splitlines()]
    for row in rows:
        if row["id"] in ("p0_angry_1.0.png", "p2_contempt_1.0.png"):
            row["scores"] = dict.fromkeys(EXPRESSIONS, 0.0)
    (copied / "judge.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    numbers = write_report(existing_folder(copied))
    assert numbers["coverage"]["seen"]["nothing"] == 2
    assert numbers["general"]["acc_12"]["n"] == 13
    assert numbers["expressions"]["angry"]["accuracy"] == 0
    assert numbers["confusion"][0] == [0] * 12 + [1]
    with (copied / "images.csv").open() as file:
        seen = {row["file"]: row["seen"] for row in csv.DictReader(file)}
    assert seen["p0_angry_1.0.png"] == ""
    assert "nothing in 2 (counts as wrong)" in (copied / "report.md").read_text()
    html = (copied / "report.html").read_text()
    assert "nothing seen in 2" in html
    assert "<!-- nothing -->" in html  # the column of the picture
    assert "nothing seen in 2, which counts as wrong" in command.coverage_line(numbers)


def test_a_judge_that_is_asked_twice_shows_its_noise(tmp_path, tiny_stack):
    prepared(tmp_path)
    numbers = evaluate(configured(tmp_path, tiny_stack, "repeat=2", QUICK))
    assert numbers["judge_noise"]["images"] == 42
    assert numbers["judge_noise"]["overall"] < 1e-6  # this one does not waver
    assert (
        "Noise of the judge" in (tmp_path / "runs" / "evaluate" / "run" / "report.md").read_text()
    )


# ---- compare --------------------------------------------------------------------------------


def rescored(folder: Path, shift) -> Path:
    """Let the judge say something else about the expression that was asked for."""
    rows = [json.loads(line) for line in (folder / "judge.jsonl").read_text().splitlines()]
    for row in rows:
        _, name, strength = Path(row["id"]).stem.split("_")
        row["scores"][name] = min(1.0, max(0.0, shift(row["scores"][name], float(strength))))
    (folder / "judge.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_real_difference_is_called_real_and_noise_is_not(copied, finished, tmp_path):
    same = compare(existing_folder(finished), existing_folder(copied))
    assert {row["verdict"] for row in same["rows"]} == {"not shown"}
    assert {row["p"] for row in same["rows"]} == {1.0}
    rescored(copied, lambda score, strength: strength)
    rows = {
        (row["setting"], row["metric"]): row
        for row in compare(existing_folder(finished), existing_folder(copied))["rows"]
    }
    better = rows["linear", "cls_12"]
    assert better["verdict"] == "real"
    assert better["low"] > 0
    assert better["second"] == pytest.approx(1)
    assert better["n"] == 12
    assert "is better than" in better["in_words"]
    assert rows["linear", "id_sim"]["verdict"] == "not shown"


def test_compare_refuses_other_judges_tasks_and_strengths(copied, finished):
    record = json.loads((copied / "run.json").read_text())

    def changed(**keys):
        (copied / "run.json").write_text(json.dumps({**record, **keys}))
        return existing_folder(copied)

    first = existing_folder(finished)
    with pytest.raises(UserError, match=r"different judge .*'id': 'other'.*judge=replay"):
        compare(first, changed(judge={**record["judge"], "id": "other"}))
    protocol = {**record["protocol"], "linear": [0.0, 1.0]}
    with pytest.raises(UserError, match=r"different strengths \(linear"):
        compare(first, changed(protocol=protocol))
    changed()
    rows = (copied / "tasks.jsonl").read_text().splitlines(keepends=True)
    (copied / "tasks.jsonl").write_text("".join(rows[1:]))
    with pytest.raises(UserError, match=r"different tasks .* evaluate both on the same tasks"):
        compare(first, existing_folder(copied))
    with pytest.raises(UserError, match="holds no evaluation"):
        existing_folder(copied.parent)


def test_the_command_compare_takes_two_folders_and_says_what_is_real(
    copied, finished, tmp_path, monkeypatch, capsys
):
    rescored(copied, lambda score, strength: strength)
    monkeypatch.setattr(
        sys, "argv", ["evaluate", "compare", str(finished), str(copied), f"out={tmp_path / 'c'}"]
    )
    command.main()
    assert re.search(r"real: .*CLS-12 \(linear\)", capsys.readouterr().out)
    assert json.loads((tmp_path / "c" / "comparison.json").read_text())["rows"]
    assert "| linear | CLS-12 |" in (tmp_path / "c" / "comparison.md").read_text()


def test_words_that_people_type_become_overrides_that_hydra_reads():
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        words = spelled_out(["editor=folder", "dir=my out", f"pattern={PATTERN}"])
        config = compose("evaluate", words)
        assert (config.dir, config.pattern) == ("my out", PATTERN)
        verb, *words = spelled_out(["compare", "runs/it's", "runs/b", "out=null"])
        assert verb == "compare"
        config = compose("evaluate", words)
        assert list(config.runs) == ["runs/it's", "runs/b"]
        assert config.out is None


def test_a_folder_with_an_equals_sign_in_its_name_is_a_run_and_no_override(tmp_path):
    for name in ("lr=1e-3", "lr=1e-4"):
        (tmp_path / name).mkdir()
    runs = [str(tmp_path / "lr=1e-3"), str(tmp_path / "lr=1e-4")]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = compose("evaluate", spelled_out(["compare", *runs, "domain=anime"])[1:])
        assert (list(config.runs), config.domain.name) == (runs, "anime")
        assert compose("evaluate", spelled_out(["report", runs[0]])[1:]).dir == runs[0]
