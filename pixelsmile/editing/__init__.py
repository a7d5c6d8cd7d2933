"""Edit pictures: the editor, and what lies between a person's files and it."""
