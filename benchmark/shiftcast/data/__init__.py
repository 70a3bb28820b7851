"""Datasets: readers of publishers' layouts, fingerprints, seeded choices and corruptions.

Cards say which dataset is what (`shiftcast.cards.suite`); nothing here knows them, torch or a model.
"""

from shiftcast.data.corruptions.registry import CORRUPTIONS, SEVERITIES, TRANSFORMS, Transform, corrupt
from shiftcast.data.corruptions.streams import GENERATOR_VERSION
from shiftcast.data.fingerprints import fingerprint
from shiftcast.data.readers.layouts import Images, read_arrays, read_cifar10_binary, read_digits
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
