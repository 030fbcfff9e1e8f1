"""How the corpora are made."""
