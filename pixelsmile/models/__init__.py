"""Everything that carries weights: the editor's parts and the frozen judges of features."""
