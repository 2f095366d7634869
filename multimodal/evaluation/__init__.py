"""How good a model is: tasks, data, metrics as they are published, a runner and a report."""
