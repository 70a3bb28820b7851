"""Training and evaluation: the only part of Shiftcast that uses PyTorch and timm."""
