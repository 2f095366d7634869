"""What nano's voice is trained on."""
