"""What a training will need, found out without weights and without a GPU."""
