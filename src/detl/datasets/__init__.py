"""Something to start with: chest phantoms drawn by code."""
