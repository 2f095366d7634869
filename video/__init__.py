"""Clips: reading untrusted files, and frames to what cross-attention takes."""
