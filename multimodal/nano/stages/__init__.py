"""The stages of nano's recipe, one a module."""
