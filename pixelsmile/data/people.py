"""People to calibrate on and others to check it on: one neutral image each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pixelsmile.data.ffe import as_list, read_ffe
from pixelsmile.data.samples import Sample, by_identity, neutral_of, share_crop
from pixelsmile.data.splits import fraction
from pixelsmile.errors import UserError


@dataclass(frozen=True)
class People:
    """Neutral images of two groups that share nobody.

    Attributes:
        fit: Curves are fitted on these.
        check: What the curves are worth is measured on these.
    """

    fit: list[Sample]
    check: list[Sample]


def read_people(
    files: Mapping[str, Any],
    *,
    domain: str,
    check_share: float = 0.5,
    follow_links: bool = False,
) -> People:
    """Read both groups from FFE annotations, of which only the neutral images are used.

    Args:
        files: Annotation files or folders under `fit` and `check`; None under `check` divides the
            people of `fit`. Those under `trained_on`, if any, name people who may be in neither.
        domain: Keep this domain only; the files may hold both.
        check_share: Share of the people to check on, where `files.check` is None; the name of an
            identity decides, as for a validation set.
        follow_links: Allow paths that lead out of the folder of their annotations.

    Raises:
        UserError: If a file is missing or broken, an identity has no neutral image, a group is
            empty, or somebody is in two groups.
    """

    def read(key: str) -> list[Sample]:
        samples = read_ffe(*as_list(files[key]), domain=domain, follow_links=follow_links)
        groups = by_identity(share_crop(samples))
        return [neutral_of(name, images) for name, images in groups.items()]

    fit = read("fit")
    if files.get("check") is not None:
        check = read("check")
    else:
        if not 0 < check_share < 1:
            raise UserError(f"people.check_share={check_share}: give a number between 0 and 1.")
        # From the other end than a validation set, which is where these people may come from.
        check = [one for one in fit if 1 - fraction(one.identity) <= check_share]
        fit = [one for one in fit if 1 - fraction(one.identity) > check_share]
    for key, people in (("fit", fit), ("check", check)):
        if not people:
            raise UserError(
                f"Nobody is left to {key} the calibration on: give more people in "
                "people.files.fit, another people.check_share, or people.files.check."
            )
    _refuse_shared(fit, check, "people.files.fit and people.files.check")
    if files.get("trained_on") is not None:
        trained = read_ffe(*as_list(files["trained_on"]), domain=domain, follow_links=follow_links)
        _refuse_shared([*fit, *check], trained, "the people of the calibration and of the training")
    return People(fit, check)


def _refuse_shared(some: Sequence[Sample], others: Sequence[Sample], what: str) -> None:
    """Refuse two groups with an identity in common.

    Raises:
        UserError: If there is one.
    """
    shared = sorted({x.identity for x in some} & {x.identity for x in others})
    if shared:
        raise UserError(
            f"{what} have {len(shared)} identities in common ({', '.join(shared[:3])}): what is "
            "measured on people who were seen before means nothing. Take them out of one."
        )
