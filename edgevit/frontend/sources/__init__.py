"""Whatever a user names as a model, opened: a table of kinds, and a loader for each."""
