"""Each corruption against a slow reference: one image, one pixel at a time, or another library."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates, zoom
from scipy.stats import chi2, poisson
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian

from shiftcast.data import SEVERITIES, TRANSFORMS, corrupt
from shiftcast.data.corruptions.blur import zoomed
from shiftcast.data.corruptions.streams import normal, streams, uniform
from shiftcast.data.corruptions.weather import FROST_CONTRAST, FROST_PANES, _crystals, plasma

RANDOM = np.random.default_rng(0)
SMOOTH = np.stack([gaussian(RANDOM.random((32, 32, 3)), 3, channel_axis=-1) for _ in range(6)])
SPREAD = (SMOOTH - SMOOTH.min()) / (SMOOTH.max() - SMOOTH.min())
IMAGES = (SPREAD * 255).astype(np.uint8)
IMAGES[0, :16] = 255  # a flat half, a black one and a grey image: where truncation and hues are odd
IMAGES[0, 16:] = 0
IMAGES[1] = IMAGES[1, ..., :1]
INDEX = np.arange(len(IMAGES))
EVERY = pytest.mark.parametrize("severity", SEVERITIES)


def words(name, severity):
    return streams(name, severity, INDEX, TRANSFORMS[name].words)


def strength(name, severity):
    return TRANSFORMS[name].strengths[severity - 1]


def assert_stored(found, values, near=1e-3):
    """Truncated values in [0, 1]: what is a whole number but for rounding may fall to either side."""
    exact = np.clip(values, 0, 1) * 255
    assert (np.abs(found - np.floor(exact)) <= (np.abs(exact - np.rint(exact)) < near)).all()


@EVERY
def test_shot_noise_is_the_inverse_of_poissons_distribution(severity):
    photons = strength("shot_noise", severity)
    draws = uniform(words("shot_noise", severity)).reshape(IMAGES.shape)
    expected = np.minimum(poisson.ppf(draws, IMAGES / 255 * photons) / photons, 1)
    found = corrupt(IMAGES, "shot_noise", severity, INDEX)
    assert_stored(found, np.where(IMAGES == 0, 0, expected))


def test_photons_are_counted_like_poissons():
    grey = np.full((400, 32, 32, 3), 128, np.uint8)
    noisy = corrupt(grey, "shot_noise", 5, np.arange(400)).astype(int)
    seen = np.bincount(np.ceil(noisy * 50 / 255).astype(int).ravel(), minlength=51)[10:45]
    expected = noisy.size * poisson.pmf(np.arange(10, 45), 128 / 255 * 50)
    assert ((seen - expected) ** 2 / expected).sum() < chi2.ppf(0.9999, 34)


@EVERY
def test_speckle_noise_grows_with_the_value(severity):
    noise = normal(words("speckle_noise", severity)).reshape(IMAGES.shape)
    values = IMAGES / 255
    assert_stored(
        corrupt(IMAGES, "speckle_noise", severity, INDEX),
        values + values * noise * strength("speckle_noise", severity),
    )


@EVERY
def test_gaussian_blur_is_that_of_scikit_image(severity):
    sigma = strength("gaussian_blur", severity)
    found = corrupt(IMAGES, "gaussian_blur", severity, INDEX)
    for one, image in zip(found, IMAGES, strict=True):
        assert_stored(one, gaussian(image / 255, sigma, channel_axis=-1))


@EVERY
def test_defocus_blur_is_that_of_opencv(severity):
    radius, softness = strength("defocus_blur", severity)
    across, down = np.meshgrid(np.arange(-8, 9), np.arange(-8, 9))
    disk = (across**2 + down**2 <= radius**2).astype(float)
    kernel = cv2.GaussianBlur(disk / disk.sum(), (3, 3), sigmaX=softness)
    found = corrupt(IMAGES, "defocus_blur", severity, INDEX)
    for one, image in zip(found, IMAGES, strict=True):
        assert_stored(one, cv2.filter2D(image / 255, -1, kernel), near=0.01)


@EVERY
def test_glass_blur_copies_neighbours_one_after_the_other(severity):
    sigma, reach, rounds = strength("glass_blur", severity)
    coins = uniform(words("glass_blur", severity)).reshape(len(IMAGES), -1, 2)
    found = corrupt(IMAGES, "glass_blur", severity, INDEX)
    for place in (0, 3):
        picture = np.floor(gaussian(IMAGES[place] / 255, sigma, channel_axis=-1) * 255 + 1e-6).astype(
            np.uint8
        )
        for turn in range(rounds):
            for row in range(31, 1, -1):
                for column in range(31, 1, -1):
                    coin = coins[place, turn * 900 + (row - 2) * 30 + column - 2]
                    down, across = np.floor(coin * 2 * reach).astype(int) - reach
                    picture[row, column] = picture[row + down, column + across]
        assert_stored(found[place], gaussian(picture / 255, sigma, channel_axis=-1))


@EVERY
def test_motion_blur_walks_along_a_line(severity):
    radius, sigma = strength("motion_blur", severity)
    angles = np.deg2rad(90 * uniform(words("motion_blur", severity))[:, 0] - 45)
    weights = np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2)
    found = corrupt(IMAGES, "motion_blur", severity, INDEX)
    for place in (0, 2, 4):
        image, angle = IMAGES[place].astype(float), angles[place]
        for row, column in ((0, 0), (3, 30), (16, 16), (31, 31), (20, 1)):
            total = 0
            for tap, weight in enumerate(weights / weights.sum()):
                across, down = np.ceil(tap * np.cos(angle) - 0.5), np.ceil(tap * np.sin(angle) - 0.5)
                total = (
                    total
                    + weight * image[int(np.clip(row + down, 0, 31)), int(np.clip(column + across, 0, 31))]
                )
            assert np.abs(found[place, row, column] - total).max() <= 0.5 + 1e-5


def clipped(image, factor):
    inside = int(np.ceil(32 / factor))
    first = (32 - inside) // 2
    larger = zoom(image[first : first + inside, first : first + inside], (factor, factor, 1), order=1)
    over = (len(larger) - 32) // 2
    return larger[over : over + 32, over : over + 32]


@EVERY
def test_zoom_blur_is_an_average_of_zooms(severity):
    factors = np.arange(1, strength("zoom_blur", severity), 0.01)
    found = corrupt(IMAGES, "zoom_blur", severity, INDEX)
    for one, image in zip(found[:2], IMAGES[:2] / 255, strict=True):
        assert_stored(one, (image + sum(clipped(image, factor) for factor in factors)) / (len(factors) + 1))


@pytest.mark.parametrize("factor", [1.0, 1.01, 1.25, 1.75, 2.25])
def test_zooms_are_those_of_scipy(factor):
    values = IMAGES / 255
    for one, image in zip(zoomed(values, factor), values, strict=True):
        assert one == pytest.approx(clipped(image, factor), abs=1e-12)


@EVERY
def test_fog_is_a_plasma_that_keeps_the_highest_value(severity):
    thickness, decay = strength("fog", severity)
    clouds = plasma(uniform(words("fog", severity)), decay)
    found = corrupt(IMAGES, "fog", severity, INDEX)
    for one, image, cloud in zip(found, IMAGES / 255, clouds, strict=True):
        assert_stored(one, (image + thickness * cloud[..., None]) * image.max() / (image.max() + thickness))


def test_plasma_is_diamonds_and_squares():
    """Cell by cell on a torus, with the draws in the order of rows."""
    decay = 1.75
    draws = 2 * uniform(words("fog", 1))[0] - 1
    cloud, step, scale, used = np.zeros((32, 32)), 32, 100.0, 0
    while step >= 2:
        half = step // 2
        before = cloud.copy()
        places = [(row, column) for row in range(0, 32, step) for column in range(0, 32, step)]
        for row, column in places:
            four = sum(before[(row + a) % 32, (column + b) % 32] for a in (0, step) for b in (0, step))
            cloud[row + half, column + half] = four / 4 + scale**2 * draws[used]
            used += 1
        middles = cloud.copy()
        for down, across in ((0, half), (half, 0)):
            for row, column in places:
                y, x = row + down, column + across
                around = ((half, 0), (-half, 0), (0, half), (0, -half))
                four = sum(middles[(y + a) % 32, (x + b) % 32] for a, b in around)
                cloud[y, x] = four / 4 + scale**2 * draws[used]
                used += 1
        step, scale = half, scale / decay
    cloud = (cloud - cloud.min()) / (cloud.max() - cloud.min())
    assert used == TRANSFORMS["fog"].words
    assert plasma(uniform(words("fog", 1)), decay)[0] == pytest.approx(cloud, abs=1e-12)


@EVERY
def test_snow_brightens_and_falls_in_two_directions(severity):
    mean, spread, size, least, radius, sigma, share = strength("snow", severity)
    random = words("snow", severity)
    found = corrupt(IMAGES, "snow", severity, INDEX)
    flakes = clipped((mean + spread * normal(random[:, :1024])[2].reshape(32, 32))[..., None], size)[..., 0]
    flakes = np.floor(np.clip(np.where(flakes < least, 0, flakes), 0, 1) * 255)
    angle = np.deg2rad(90 * uniform(random)[2, 1024] - 135)
    weights = np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2)
    fallen = np.zeros((32, 32))
    for row in range(32):
        for column in range(32):
            for tap, weight in enumerate(weights / weights.sum()):
                down, across = np.ceil(tap * np.sin(angle) - 0.5), np.ceil(tap * np.cos(angle) - 0.5)
                there = int(np.clip(row + down, 0, 31)), int(np.clip(column + across, 0, 31))
                fallen[row, column] += weight * flakes[there]
    fallen = np.rint(fallen) / 255
    image = IMAGES[2] / 255
    grey = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY).astype(float)[..., None]
    expected = share * image + (1 - share) * np.maximum(image, grey * 1.5 + 0.5)
    expected += (fallen + np.rot90(fallen, 2))[..., None]
    difference = np.abs(found[2] - np.floor(np.clip(expected, 0, 1) * 255))
    assert difference.max() <= 1  # a flake whose smear ends on a half
    assert difference.mean() < 0.01


@EVERY
def test_brightness_and_saturation_are_those_of_hsv(severity):
    factor, plus = strength("saturate", severity)
    brighter, saturated = (corrupt(IMAGES, name, severity, INDEX) for name in ("brightness", "saturate"))
    for place, image in enumerate(IMAGES):
        hsv = rgb2hsv(image / 255)
        raised, changed = hsv.copy(), hsv.copy()
        raised[..., 2] = np.clip(hsv[..., 2] + strength("brightness", severity), 0, 1)
        changed[..., 1] = np.clip(hsv[..., 1] * factor + plus, 0, 1)
        assert_stored(brighter[place], hsv2rgb(raised))
        assert_stored(saturated[place], hsv2rgb(changed))


@EVERY
def test_elastic_transform_moves_points_and_pixels(severity):
    amount, sigma, reach = strength("elastic_transform", severity)
    draws = 2 * uniform(words("elastic_transform", severity)) - 1
    found = corrupt(IMAGES, "elastic_transform", severity, INDEX)
    grid = np.indices((32, 32)).astype(float)
    corners = np.array([[26, 26], [26, 6], [6, 6]], float)
    for place in (2, 4):
        moved = corners + reach * draws[place, :6].reshape(3, 2)
        # x, y of the source as an affine function of x, y of the result
        affine = np.linalg.solve(np.c_[moved, np.ones(3)], corners)
        back = np.stack([grid[1], grid[0], np.ones((32, 32))], axis=-1) @ affine
        field = draws[place, 6:].reshape(2, 32, 32)
        smooth = [gaussian(one, sigma, mode="reflect", truncate=3) if sigma else one for one in field]
        for channel in range(3):
            plane = IMAGES[place, ..., channel] / 255
            turned = map_coordinates(plane, [back[..., 1], back[..., 0]], order=1, mode="mirror")
            there = [grid[0] + amount * smooth[1], grid[1] + amount * smooth[0]]
            expected = map_coordinates(turned, there, order=1, mode="reflect") * 255
            assert_stored(found[place, ..., channel], expected / 255)


def test_frost_has_five_panes_of_one_texture():
    crystals = _crystals()
    assert crystals.mean() == pytest.approx(0, abs=0.02)
    assert crystals.std() == pytest.approx(1, abs=0.02)
    edge = np.abs(crystals[:, 0] - crystals[:, -1]).mean()
    assert edge < 1.3 * np.abs(np.diff(crystals, axis=1)).mean()  # no seam
    black = np.zeros((400, 32, 32, 3), np.uint8)
    seen = corrupt(black, "frost", 5, np.arange(400)) / 0.45
    colours = seen.mean(axis=(1, 2))
    nearest = np.abs(colours[:, None] - FROST_PANES).sum(axis=-1).argmin(axis=1)
    assert set(np.bincount(nearest, minlength=5) > 40) == {True}
    for pane in range(5):
        assert colours[nearest == pane].mean(axis=0) == pytest.approx(FROST_PANES[pane], abs=6)
        brightness = seen[nearest == pane].mean(axis=-1)
        assert brightness.std() == pytest.approx(FROST_CONTRAST[pane], rel=0.25)


@EVERY
def test_frost_takes_the_stated_share_of_the_image(severity):
    share, thickness = strength("frost", severity)
    dark, bright = (
        corrupt(np.full((50, 32, 32, 3), value, np.uint8), "frost", severity, np.arange(50)).astype(float)
        for value in (0, 60)
    )
    open_ = bright < 255
    assert (bright - dark)[open_].mean() == pytest.approx(60 * share, abs=0.6)
    assert 80 * thickness < dark.mean() < 200 * thickness


@pytest.mark.parametrize("severity", [1, 2, 3])
def test_water_lightens_only_where_drops_are(severity):
    grey = np.full((60, 32, 32, 3), 100, np.uint8)
    splashed = corrupt(grey, "spatter", severity, np.arange(60)).astype(int) - 100
    assert splashed.min() == 0
    dry = (splashed == 0).all(axis=-1)
    assert 0.6 < dry.mean() < 0.999
    wet = splashed[~dry & (splashed.max(axis=-1) < 150)]  # not yet clipped
    full = wet[wet.max(axis=-1) > 40].astype(float)
    assert full[:, 0].mean() / full[:, 1].mean() == pytest.approx(175 / 238, abs=0.03)


@pytest.mark.parametrize("severity", [4, 5])
def test_mud_is_brown(severity):
    white = np.full((60, 32, 32, 3), 255, np.uint8)
    splashed = corrupt(white, "spatter", severity, np.arange(60))
    muddy = (splashed < 255).any(axis=-1)
    assert 0.01 < muddy.mean() < 0.2
    assert splashed[muddy].min(axis=0).tolist() == [63, 42, 20]


def test_no_water_leaves_the_image_alone(monkeypatch):
    monkeypatch.setattr(
        "shiftcast.data.corruptions.weather.normal", lambda words: np.full(words.shape, -10.0)
    )
    assert (corrupt(IMAGES, "spatter", 1, INDEX) == IMAGES).all()
