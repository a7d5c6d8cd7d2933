"""Train, steer and measure fine-grained facial expression editing."""

__version__ = "0.1.0"
