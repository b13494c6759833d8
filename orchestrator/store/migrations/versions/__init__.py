"""The steps; each names the one before it, and is never edited once released."""
