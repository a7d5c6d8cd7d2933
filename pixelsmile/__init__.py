"""Train, steer and measure fine-grained facial expression editing."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixelsmile.editing import ExpressionEditor

__all__ = ["ExpressionEditor"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the editor, and torch with it, when somebody asks for it."""
    if name == "ExpressionEditor":
        from pixelsmile.editing import ExpressionEditor

        return ExpressionEditor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
