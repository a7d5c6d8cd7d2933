"""The findings as a page, and the table for the terminal; made from results, never by hand."""

import importlib.resources
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from jinja2 import Environment, StrictUndefined
from omegaconf import DictConfig
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from pixelsmile.ablation.claims import (
    CLAIMS,
    NOT_RUN,
    RULE,
    Claim,
    Verdict,
    in_the_paper,
    overall,
    verdicts,
)
from pixelsmile.ablation.results import EARLY_LOSS, LATE_LOSS, Result, Summary, summarise
from pixelsmile.ablation.rows import FULL, TABLE_3, rows_of
from pixelsmile.bench.paper import JUDGE
from pixelsmile.errors import UserError
from pixelsmile.scoring import METRIC_NAMES, METRIC_TITLES

_EARLY = "early loss"
_ASYMMETRIC = "without_symmetric"


def results_table(results: Sequence[Result], domain: str) -> Table:
    """Return the rows of a domain for the terminal, the paper's below ours."""
    table = Table(
        title=f"Table 3, {domain}: mean, spread over seeds, and the paper's",
        box=SIMPLE,
        pad_edge=False,
    )
    table.add_column("row", min_width=16)
    for name in METRIC_NAMES:
        table.add_column(_title(name), justify="right")
    for summary in summarise(results):
        if summary.domain == domain:
            cells = []
            for name in METRIC_NAMES:
                mean, _, spread = _mean(summary, name).partition(" ")
                lines = (mean, spread.replace(" ", ""), summary.row.paper.get(name, ""))
                cells.append(Text("\n".join(lines)))
            count = len(summary.seeds)
            seeds = f"{count} seed{'' if count == 1 else 's'}"
            table.add_row(Text(f"{summary.row.title}\n{seeds}"), *cells)
    return table


def _title(metric: str) -> str:
    return METRIC_TITLES.get(metric, metric)


def _mean(summary: Summary, metric: str) -> str:
    spread = summary.spread(metric)
    return f"{summary.mean(metric):.3f}" + ("" if math.isnan(spread) else f" ± {spread:.3f}")


def read_notes(path: str | Path) -> dict[str, str]:
    """Return what was written by hand below claims, by the name of the claim; {} without a file.

    Raises:
        UserError: If the file is no mapping of known claims to text.
    """
    path = Path(path)
    if not path.is_file():
        return {}
    try:
        notes = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML: {error}") from None
    names = [claim.name for claim in CLAIMS]
    if not isinstance(notes, dict) or not all(isinstance(text, str) for text in notes.values()):
        raise UserError(f"{path} must map names of claims to text.")
    if unknown := sorted(set(notes) - set(names)):
        raise UserError(f"{path} names {unknown[0]!r}: choose of {', '.join(names)}.")
    return notes


def page(config: DictConfig, results: Sequence[Result], notes: Mapping[str, str]) -> str:
    """Return `docs/ablation.md`.

    Args:
        config: Of the command, for the protocol.
        results: Of all runs on disk, of any domain; may be empty.
        notes: By name of claim.
    """
    parts = [_findings(results, notes)]
    for domain in ("human", "anime"):
        parts += _domain(results, domain)
    template = importlib.resources.files("pixelsmile.ablation") / "templates/ablation.md.jinja"
    return (
        Environment(undefined=StrictUndefined, keep_trailing_newline=True)
        .from_string(template.read_text(encoding="utf-8"))
        .render(
            protocol=list(config.protocol),
            mead_subjects=config.mead.subjects,
            paper_judge=JUDGE,
            rule=RULE,
            early=_EARLY,
            findings="\n\n".join(parts),
        )
    )


def _findings(results: Sequence[Result], notes: Mapping[str, str]) -> str:
    lines = ["## Findings", "", "| claim | human | anime |", "|---|---|---|"]
    for claim in CLAIMS:
        words = [
            overall([verdict.word for verdict in verdicts(claim, results, domain)])
            if claim.applies(rows_of(domain))
            else "-"
            for domain in ("human", "anime")
        ]
        lines.append(f"| {claim.text} | {' | '.join(words)} |")
    told = [f"**{claim.text}** {notes[claim.name]}" for claim in CLAIMS if claim.name in notes]
    return "\n\n".join(["\n".join(lines), *told])


def _domain(results: Sequence[Result], domain: str) -> Iterator[str]:
    """Yield the sections of a domain."""
    own = [result for result in results if result.domain == domain]
    yield f"## {domain.capitalize()}"
    if not own:
        yield "Not run."
        return
    yield _rows(own, domain)
    for claim in CLAIMS:
        if claim.applies(rows_of(domain)):
            yield _claim(claim, own, domain)
    yield _dynamics(own)


def _rows(results: Sequence[Result], domain: str) -> str:
    heads = ["row", "seeds", *(_title(name) for name in METRIC_NAMES)]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    summaries = summarise(results)
    for summary in summaries:
        cells = [_mean(summary, name) for name in METRIC_NAMES]
        lines.append(f"| {summary.row.title} | {len(summary.seeds)} | {' | '.join(cells)} |")
        if summary.row.paper:
            paper = [f"*{summary.row.paper[name]}*" for name in METRIC_NAMES]
            lines.append(f"| *paper* | | {' | '.join(paper)} |")
    run = {summary.row.name for summary in summaries}
    if missing := [row.title for row in TABLE_3 if domain in row.domains and row.name not in run]:
        lines += ["", f"Not run: {', '.join(missing)}."]
    return "\n".join(lines)


def _claim(claim: Claim, results: Sequence[Result], domain: str) -> str:
    """Return the numbers behind a claim."""
    found = verdicts(claim, results, domain)
    lines = [
        f"**{claim.text}** {overall([verdict.word for verdict in found]).capitalize()}.",
        "",
        "| comparison | by seed | mean, 95 % | | paper |",
        "|---|---|---|---|---|",
    ]
    for comparison, verdict in zip(claim.comparisons, found, strict=True):
        text = _in_words(comparison.text)
        paper = in_the_paper(comparison)
        shown = "-" if math.isnan(paper) else f"{paper:+.4f}"
        lines.append(f"| {text} | {_numbers(verdict)} | {verdict.word} | {shown} |")
    return "\n".join(lines)


def _in_words(text: str) -> str:
    """Put titles in place of keys."""
    titles = {row.name: row.title for row in TABLE_3}
    titles |= {name: _title(name) for name in METRIC_NAMES} | {EARLY_LOSS: _EARLY}
    return " ".join(titles.get(word, word) for word in text.split())


def _numbers(verdict: Verdict) -> str:
    if verdict.word == NOT_RUN:
        return "- | -"
    seeds = ", ".join(f"{value:+.3f}" for value in verdict.differences)
    if math.isnan(verdict.low):
        return f"{seeds} | {verdict.mean:+.3f}"
    return f"{seeds} | {verdict.mean:+.3f} [{verdict.low:+.3f}, {verdict.high:+.3f}]"


def _dynamics(results: Sequence[Result]) -> str:
    """Return Fig. 9 in numbers: both frameworks over the training, means over seeds."""
    lines = ["**Training, symmetric against asymmetric (Fig. 9), means over seeds**", ""]
    rows: list[tuple[str, list[Result]]] = [
        (title, [one for one in results if one.row == name and EARLY_LOSS in one.values])
        for name, title in ((FULL, "symmetric"), (_ASYMMETRIC, "one branch"))
    ]
    if not all(runs for _, runs in rows):
        return "\n".join([*lines, "Not run."])
    steps = sorted(set.intersection(*(set(one.mscr) for _, runs in rows for one in runs)))
    heads = ["", _EARLY, "loss, last quarter", *(f"mSCR, step {step}" for step in steps)]
    lines += [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for title, runs in rows:
        losses = [_average([one.values[key] for one in runs]) for key in (EARLY_LOSS, LATE_LOSS)]
        curve = [_average([one.mscr[step] for one in runs]) for step in steps]
        cells = [f"{value:.3f}" for value in (*losses, *curve)]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values)
