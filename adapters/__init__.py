"""What joins a frozen encoder to a frozen text core. Knows no modality and no Llama."""
