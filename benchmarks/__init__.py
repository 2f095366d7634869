"""Ours beside other libraries, in the same run. See README.md here."""
