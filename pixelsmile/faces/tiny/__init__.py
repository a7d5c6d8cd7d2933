"""The tiny stack: real model classes at small sizes, and how their weights are made."""
