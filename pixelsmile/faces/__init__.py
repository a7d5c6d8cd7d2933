"""Synthetic faces: two generators, one interface, exact labels."""
