"""Pairs of pictures, and the batches that training is fed."""
