"""From written text to sound while the text is still being written."""
