"""Samples and sizes of pictures in memory."""
