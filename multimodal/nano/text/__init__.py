"""Nano's world in words: what its text core is trained on before it is frozen for good."""
