"""The rows of Table 3, and which of them a command asks for."""

from collections.abc import Sequence
from dataclasses import dataclass

from pixelsmile.bench.paper import Row as PaperRow
from pixelsmile.bench.paper import tables
from pixelsmile.errors import UserError
from pixelsmile.expressions import DOMAINS

FULL = "full"
MEAD = "mead"


@dataclass(frozen=True)
class Row:
    """One variant of the training.

    Attributes:
        name: Of the row, and of its file below `configs/experiment` unless it has `overrides`.
        title: In tables; those of Table 3 as the paper has them.
        domains: In which the variant differs from the full setting, and its data exist.
        overrides: Of the training's config.
    """

    name: str
    title: str
    domains: tuple[str, ...] = DOMAINS
    overrides: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[str, ...]:
        """What makes a training one of this row."""
        return self.overrides or (f"experiment={self.name}",)

    @property
    def paper(self) -> PaperRow:
        """The numbers of the paper as printed, empty for a row that Table 3 does not have."""
        return next((row for row in tables()["table_3"] if row["method"] == self.title), {})


TABLE_3 = (
    Row("without_contrastive", "w/o Contrastive Loss"),
    Row("without_id", "w/o ID Loss", ("human",)),  # drawings are trained without it anyway
    Row("without_symmetric", "w/o Sym. Frame."),
    Row("log_ratio", "w/ Log-Ratio Constraint"),
    Row("hinge", "w/ Hinge Constraint"),
    Row(MEAD, "MEAD", ("human",)),  # shows people
    Row(FULL, "Full Setting"),
)
"""In the order of the paper."""

_NAMED = {row.name: row for row in TABLE_3}
_SAME = {"info_nce": FULL}
"""Losses that a row of another name has."""


def known_row(name: str) -> Row:
    """Return the row of a name; one that Table 3 does not have is a loss of the user.

    Example:
        >>> known_row("hinge").title, known_row("margin").title
        ('w/ Hinge Constraint', 'loss=margin')
    """
    return _NAMED.get(name, Row(name, f"loss={name}", overrides=(f"loss={name}",)))


def asked_rows(
    domain: str, names: Sequence[str] | None, loss: str | None, experiment: str | None
) -> list[Row]:
    """Return the rows that a command asks for: all of Table 3 if it names none.

    Args:
        domain: Rows that are nothing of their own in it are left out, or refused if named.
        names: Value of `rows=`.
        loss: Value of `loss=`; one that is no row of Table 3 makes a row of its own.
        experiment: Value of `experiment=`.

    Raises:
        UserError: If a name is unknown, two keys name rows, or a row does not exist in the domain.
    """
    given = {"rows": names, "loss": loss, "experiment": experiment}
    given = {key: value for key, value in given.items() if value is not None}
    if len(given) > 1:
        both = " and ".join(f"{key}={_shown(value)}" for key, value in given.items())
        raise UserError(f"{both} both name rows: say one of them.")
    if not given:
        return [row for row in TABLE_3 if domain in row.domains]
    if loss is not None:
        rows = [known_row(_SAME.get(loss, loss))]
    else:
        rows = [_row_of_table(name) for name in names or (str(experiment),)]
    for row in rows:
        if domain not in row.domains:
            raise UserError(
                f"Row {row.name} is nothing of its own for domain={domain}: "
                f"say domain={row.domains[0]}, or leave the row out."
            )
    return rows


def rows_of(domain: str) -> tuple[str, ...]:
    """Return the names of the rows of Table 3 that a domain has."""
    return tuple(row.name for row in TABLE_3 if domain in row.domains)


def _row_of_table(name: str) -> Row:
    if name not in _NAMED:
        raise UserError(
            f"Unknown row {name!r}: choose of {', '.join(_NAMED)}, or name a loss with loss=."
        )
    return _NAMED[name]


def _shown(value: object) -> str:
    return str(value) if isinstance(value, str) else f"[{','.join(map(str, value))}]"  # type: ignore[arg-type]
