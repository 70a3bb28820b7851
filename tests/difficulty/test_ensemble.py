"""The reference ensemble keeps its size and never holds a member of the scored run's family."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftcast.difficulty import choose_members
from shiftcast.errors import InvalidInputError

MEMBERS = [("resnet-a", "resnet"), ("vit-a", "vit"), ("vgg-a", "vgg"), ("convnext-a", "convnext")]
RESERVES = [("vit-b", "vit"), ("resnet-b", "resnet"), ("mixer-a", "mixer"), ("densenet-a", "densenet")]


def test_an_unrelated_run_gets_the_members_as_they_are() -> None:
    assert choose_members(MEMBERS, RESERVES, "efficientnet") == ["resnet-a", "vit-a", "vgg-a", "convnext-a"]


def test_a_relative_is_replaced_in_place_by_the_next_reserve_of_a_new_family() -> None:
    # vit-b belongs to another member's family, resnet-b to the scored one's: mixer-a is next
    assert choose_members(MEMBERS, RESERVES, "resnet") == ["mixer-a", "vit-a", "vgg-a", "convnext-a"]


def test_every_relative_is_replaced_and_by_different_families() -> None:
    members = [("vgg-a", "vgg"), ("vgg-b", "vgg"), ("vit-a", "vit")]
    reserves = [("mixer-a", "mixer"), ("mixer-b", "mixer"), ("densenet-a", "densenet")]
    assert choose_members(members, reserves, "vgg") == ["mixer-a", "densenet-a", "vit-a"]


def test_reserves_that_run_out_are_an_error_naming_the_family() -> None:
    with pytest.raises(InvalidInputError, match=r"member 'resnet-a' of family 'resnet'.*one more reserve"):
        choose_members(MEMBERS, RESERVES[:2], "resnet")


def test_fewer_than_three_members_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="at least 3 members, got 2"):
        choose_members(MEMBERS[:2], RESERVES, "vgg")


@given(st.sampled_from([own for _, own in MEMBERS + RESERVES] + ["other"]))
def test_size_is_constant_and_no_family_sits_twice(family: str) -> None:
    families = dict(MEMBERS + RESERVES)
    chosen = [families[name] for name in choose_members(MEMBERS, RESERVES, family)]
    assert len(chosen) == len(MEMBERS)
    assert family not in chosen
    assert len(set(chosen)) == len(chosen)
