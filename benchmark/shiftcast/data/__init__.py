"""Datasets: readers of publishers' layouts, fingerprints, seeded choices and corruptions.

Cards say which dataset is what (`shiftcast.cards`); nothing here knows them, torch or a model.
"""

from shiftcast.data.corruptions import (
    CORRUPTIONS,
    GENERATOR_VERSION,
    SEVERITIES,
    TRANSFORMS,
    Transform,
    corrupt,
)
from shiftcast.data.fingerprints import fingerprint
from shiftcast.data.layouts import Images, read_arrays, read_cifar10_binary, read_digits
from shiftcast.data.sampling import stratified_halves, stratified_subset

__all__ = [
    "CORRUPTIONS",
    "GENERATOR_VERSION",
    "SEVERITIES",
    "TRANSFORMS",
    "Images",
    "Transform",
    "corrupt",
    "fingerprint",
    "read_arrays",
    "read_cifar10_binary",
    "read_digits",
    "stratified_halves",
    "stratified_subset",
]
