"""FFE-Bench: tasks, edits, judgements, identity, numbers and the report, each kept on disk."""
