"""Corruptions of 32 x 32 images, and planted shortcuts."""
