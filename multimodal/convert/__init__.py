"""Weights of foreign formats, one readable table a format, strict both ways."""
