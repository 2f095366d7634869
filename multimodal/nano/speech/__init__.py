"""The synthetic speech that nano's ears learn from and are measured on: what is said, by whom, and where."""
