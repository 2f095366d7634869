"""Pictures: opening them, cutting them into tiles, encoding them."""
