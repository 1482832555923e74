"""Scores of pictures, by one protocol: with references, without, and as figures."""
