"""A frozen Llama 3 with eyes."""

__version__ = "0.1.0"
