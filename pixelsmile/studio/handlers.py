"""What happens when a visitor does something: from a session and values to markup."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, NamedTuple

from PIL import Image

from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, canonical
from pixelsmile.models.detectors import Points
from pixelsmile.studio import markup, mixes
from pixelsmile.studio.bundle import write_bundle
from pixelsmile.studio.engine import Advance, Engine
from pixelsmile.studio.results import NEUTRAL_WEIGHTS, Result, Settings
from pixelsmile.studio.session import Session
from pixelsmile.studio.uploads import Limits, check_upload

Read = Callable[[Path], Image.Image]
"""Decode a file to RGB, upright."""


@dataclass(frozen=True)
class Example:
    """A face that the page offers.

    Attributes:
        name: For people.
        domain: `human` or `anime`.
        image: RGB.
        points: Five points in pixels.
    """

    name: str
    domain: str
    image: Image.Image
    points: Points


class Screen(NamedTuple):
    """The parts of the page that most events change."""

    notice: str
    viewer: str
    history: str


class Handlers:
    """The events of the page. A session belongs to one visitor and is changed in place.

    Every method raises `UserError` for what the visitor can mend.

    Args:
        engine: Does the work.
        examples: Offered on the page; the first one is open at the start.
        read: Decodes an upload that passed the check.
        limits: Of uploads.
        steps: Pictures of a strength strip.
    """

    def __init__(
        self,
        engine: Engine,
        examples: Sequence[Example],
        read: Read,
        *,
        limits: Limits | None = None,
        steps: int = 9,
    ) -> None:
        self.engine = engine
        self.examples = tuple(examples)
        self.read = read
        self.limits = limits or Limits()
        self.steps = steps

    def upload(
        self,
        session: Session,
        path: str | os.PathLike[str],
        domain: str,
        settings: Settings,
    ) -> Screen:
        """Open a file. Where that fails, the face that was open stays open."""
        check_upload(path, self.limits)
        path = Path(path)
        try:
            image = self.read(path)
        except UserError as error:  # the visitor knows the name, and no folder of the server
            raise UserError(str(error).replace(str(path), path.name)) from None
        session.face = self.engine.open(image, domain, path.name)
        return self.blend(session, settings)

    def example(self, session: Session, number: object, settings: Settings) -> Screen:
        """Open an example by its place in the list."""
        if not isinstance(number, int) or not 0 <= number < len(self.examples):
            raise UserError(f"There is no example {number}: choose one of those on the page.")
        chosen = self.examples[number]
        session.face = self.engine.open(
            chosen.image, chosen.domain, chosen.name, points=chosen.points
        )
        return self.blend(session, settings)

    def domain(self, session: Session, domain: str, settings: Settings) -> Screen:
        """Read the open face as one of another domain."""
        if session.face is None or session.face.domain == domain:
            return self.screen(session)
        session.face = self.engine.reopen(session.face, domain)
        return self.blend(session, settings)

    def blend(self, session: Session, settings: Settings) -> Screen:
        """Render the mix of the sliders; the source itself where all are 0."""
        face = session.opened()
        weights = mixes.check_weights(settings.weights)
        if weights == NEUTRAL_WEIGHTS:
            return self.screen(session)
        label = markup.describe(weights)
        pictures = self.engine.render(face, [weights], [label], settings)
        result = session.add("blend", face, settings, pictures, self.engine.model(face.domain))
        return self.screen(session, result)

    def strip(
        self, session: Session, settings: Settings, progress: Advance | None = None
    ) -> Screen:
        """Render the way from neutral to the mix of the sliders, to scrub through."""
        face = session.opened()
        weights = mixes.check_weights(settings.weights)
        if weights == NEUTRAL_WEIGHTS:
            raise UserError("All sliders are at 0: move one to say where the strip leads.")
        shares, rows = mixes.strip(weights, self.steps)
        labels = [f"{share:.0%}" for share in shares]
        pictures = self.engine.render(face, rows, labels, settings, progress)
        result = session.add("strip", face, settings, pictures, self.engine.model(face.domain))
        return self.screen(session, result)

    def grid(
        self,
        session: Session,
        strength: float,
        settings: Settings,
        progress: Advance | None = None,
    ) -> tuple[str, str]:
        """Render all twelve at one strength; return the grid and the history."""
        face = session.opened()
        rows = mixes.grid(strength)
        pictures = self.engine.render(face, rows, EXPRESSIONS, settings, progress)
        session.add("grid", face, settings, pictures, self.engine.model(face.domain))
        return markup.grid(pictures), self.past(session)

    def choose(
        self, session: Session, name: object, strength: float, settings: Settings
    ) -> tuple[Settings, Screen]:
        """Set the sliders to one expression alone, as a card of the grid shows it."""
        weights = mixes.weights_of({canonical(str(name)): strength})
        settings = replace(settings, weights=weights)
        return settings, self.blend(session, settings)

    def restore(self, session: Session, number: object) -> tuple[Result, Screen]:
        """Bring back the face and the pictures of an earlier result, without rendering."""
        result = session.find(number if isinstance(number, int) else -1)
        session.face = result.face
        return result, self.screen(session, None if result.kind == "grid" else result)

    def clear(self, session: Session) -> str:
        """Empty the history."""
        session.clear()
        return self.past(session)

    def download(self, session: Session, file: IO[bytes]) -> None:
        """Write pictures and settings of the session as a ZIP."""
        write_bundle(tuple(session.results), file)  # more may come while it is written

    def past(self, session: Session) -> str:
        """Return the history."""
        return markup.history(session.results, session.dropped)

    def screen(self, session: Session, result: Result | None = None) -> Screen:
        """Show a result, else the open face, else what to do first."""
        if result is not None:
            shown = markup.viewer(result.face, result.pictures)
        elif session.face is not None:
            shown = markup.source_viewer(session.face)
        else:
            shown = markup.empty_viewer()
        return Screen(markup.notice(session.face), shown, self.past(session))
