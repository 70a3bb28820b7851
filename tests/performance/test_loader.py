"""The resident loader against the usual torchvision pipeline, in one process, on the same order."""

import time

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from shiftcast.training.resident import ResidentImages

IMAGES, BATCH, WORKERS = 5000, 256, 2
MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
OPTIONS = {"order_seed": 0, "augmentation_seed": 0, "crop_padding": 4, "flip": True, "cutout": 0}


@pytest.fixture(scope="module")
def images():
    return np.random.RandomState(0).randint(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def resident(images):
    return ResidentImages(images, np.arange(IMAGES))


class Usual(Dataset):
    """Image by image: crop, flip, scale, normalise."""

    def __init__(self, images):
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ConvertImageDtype(torch.float32),
                transforms.Normalize([m / 255 for m in MEAN], [s / 255 for s in STD]),
            ]
        )

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(self.images[index]), index


def resident_epoch(data, epoch=0):
    return [y for _, y in data.batches(BATCH, epoch=epoch, mean=MEAN, std=STD, **OPTIONS)]


def seconds(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def test_resident_epoch(benchmark, resident):
    benchmark.extra_info["images"] = IMAGES
    benchmark.pedantic(resident_epoch, args=(resident,), rounds=5, warmup_rounds=1)


# Workers are forked, as the usual pipeline does on Linux; Python warns of that in threaded processes.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_five_times_as_fast_as_the_usual_pipeline(images, resident):
    order = torch.cat(resident_epoch(resident)).tolist()
    usual = DataLoader(
        Usual(images),
        batch_size=BATCH,
        sampler=order,
        num_workers=WORKERS,
        persistent_workers=True,
        multiprocessing_context="fork",
    )
    list(usual)  # starts the workers, which is not counted
    ours, theirs = [], []
    for _ in range(3):
        spent, batches = seconds(lambda: [y for _, y in usual])
        assert torch.cat(batches).tolist() == order
        theirs.append(spent)
        ours += [seconds(lambda: resident_epoch(resident))[0] for _ in range(3)]
    ratio = min(theirs) / min(ours)
    print(f"{IMAGES / min(ours):,.0f} against {IMAGES / min(theirs):,.0f} images/s: {ratio:.1f} times")  # noqa: T201
    assert ratio >= 5
