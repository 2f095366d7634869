"""Libraries that decode, behind one face. Only the process that decodes imports them."""
