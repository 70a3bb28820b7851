"""Dataset cards: where images come from, how they are laid out, and by what they are known."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shiftcast.cards.base import Card, Name, Shortcut
from shiftcast.util.strict import StrictModel


class Edition(StrictModel):
    """Other arrays known under a dataset's name."""

    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    description: str


class View(StrictModel):
    """A part of a dataset whose accuracy is stated beside that of the whole."""

    title: str = Field(description="completes 'accuracy on …'")
    without_classes: list[str] = []
    without_images: list[Annotated[int, Field(ge=0)]] = Field(default=[], description="positions from 0")
    edition: str = Field(default="", description="the one edition that it is about; all when empty")


class LabelViewCard(StrictModel):
    """Other labels of a dataset's images, from a file of their own publisher."""

    title: str = Field(description="completes 'accuracy under …'")
    file: str = Field(description="below the data folder")
    format: Literal["review", "majority", "shares"] = Field(
        description="reviewed label errors (JSON), or label shares (n, K) by their majority or as they are"
    )
    citation: str
    licence: str


class Seal(StrictModel):
    """A commitment to withheld labels, and when they were opened."""

    commitment: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = Field(
        description="SHA-256 of a secret salt and the labels as little-endian int64"
    )
    sealed: str = Field(description="time, UTC")
    opened: str | None = Field(default=None, description="time of the first opening, UTC")


class Derivation(StrictModel):
    """How a derived dataset is made from another one, by us or by its publisher."""

    source: Name
    generator: Literal["corruptions", "published", "planted"]
    version: int = Field(ge=1)
    shortcut: Shortcut | None = Field(
        default=None, description="of planted sets: what a suite has in its source and these sets move"
    )
    transforms: list[Name] = Field(min_length=1, description="what a suite may ask for")
    severities: list[Annotated[int, Field(ge=1, le=5)]] = Field(default=[1, 2, 3, 4, 5], min_length=1)
    md5: dict[Name, Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]] = Field(
        default={}, description="of a published set: MD5 of each transform's .npy file"
    )
    stated_by: str = Field(default="", description="where md5 was read: a page or a file")

    @model_validator(mode="after")
    def _stated(self) -> Self:
        if (self.generator == "planted") != (self.shortcut is not None):
            raise ValueError("shortcut belongs to generator 'planted', and only to it")
        if bool(self.md5) != bool(self.stated_by):
            raise ValueError("stated_by belongs to md5: say where the hashes were read")
        if strange := sorted(set(self.md5) - set(self.transforms)):
            raise ValueError(f"md5: {strange[0]!r} is none of the transforms")
        return self


class Download(StrictModel):
    """One file of a publisher: where to get it, by what it is known, and what of it is kept."""

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="its name on disk")
    urls: list[Annotated[str, Field(pattern=r"^https?://\S+$")]] = Field(
        min_length=1, description="sources of the same bytes, in order of preference"
    )
    size: int | None = Field(default=None, ge=1, description="bytes")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    stated_by: str = Field(default="", description="where the hash was read: a page or a file")
    members: list[str] = Field(
        default=[], description="of an archive: patterns of the members that are unpacked; none: kept whole"
    )
    into: str = Field(default="", description="folder below the data folder that members or file go to")
    optional: bool = Field(default=False, description="whether the dataset is complete without it")

    @model_validator(mode="after")
    def _stated(self) -> Self:
        if self.optional and self.members:
            raise ValueError("optional belongs to files that are kept whole, not to archives")
        if bool(self.sha256 or self.md5) != bool(self.stated_by):
            raise ValueError("stated_by belongs to sha256 or md5: say where the hash was read")
        return self

    @property
    def digest(self) -> str | None:
        """The stated hash as `algorithm:digits`, the stronger one; None where no publisher states any."""
        if self.sha256:
            return f"sha256:{self.sha256}"
        return f"md5:{self.md5}" if self.md5 else None


class Build(StrictModel):
    """How arrays are made from a publisher's image files."""

    kind: Literal["image-tree", "selection"] = Field(
        description="every image below a folder, or those whose hashes are listed"
    )
    archive: str = Field(description="the download that holds the images")
    pattern: str = Field(
        description="regular expression of a member's whole path; group `class` names its class, "
        "`cluster` its object"
    )
    hashes: str = Field(
        default="", description="for kind 'selection': file beside the card, a line for each image, in order"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if broken := _broken(self.pattern):
            raise ValueError(f"pattern: {broken}")
        if "class" not in re.compile(self.pattern).groupindex:
            raise ValueError("pattern: needs a group named 'class': (?P<class>…)")
        if (self.kind == "selection") != bool(self.hashes):
            raise ValueError("hashes belongs to kind 'selection', and only to it")
        return self


class DatasetCard(Card):
    """Where a dataset comes from, its layout, identity, licence and kind of shift."""

    title: str
    description: str
    layout: Literal[
        "cifar10-binary",
        "arrays",
        "npz",
        "image-folder",
        "stl10-binary",
        "cifar10-c",
        "digits",
        "derived",
        "labels",
    ]
    path: str = ""
    files: list[str] = []
    clusters: str = Field(
        default="", description="file that says which object each image shows, beside the images"
    )
    split: Literal["", "train", "test"] = ""
    classes: list[str] = Field(min_length=2)
    class_map: dict[str, str] = Field(
        default={},
        description="the publisher's name of a class -> ours; others are left out. Empty: the same",
    )
    publisher_classes: list[str] = Field(
        default=[], description="the publisher's classes in label order, where labels are numbers"
    )
    pattern: str = Field(default="", description="of an image folder: regular expression of file names kept")
    keys: list[str] = Field(default=[], description="of an .npz: names of the images and the labels")
    n: int = Field(ge=1)
    public: bool = Field(default=True, description="false for sets that only the maintainers hold")
    own: bool = Field(
        default=False, description="true for a set that `shiftcast data add` made from a user's images"
    )
    shift: Literal["none", "natural", "synthetic"]
    labels: Literal["given", "withheld"] = "given"
    citation: str
    licence: str
    homepage: str = ""
    obtain: str = Field(description="the command or instruction that gets the data")
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    editions: dict[Name, Edition] = {}
    views: dict[Name, View] = {}
    label_views: dict[Name, LabelViewCard] = {}
    derived: Derivation | None = None
    seal: Seal | None = None
    opened: str | None = Field(
        default=None, description="of a withheld set without [seal]: time of the first opening, UTC"
    )
    downloads: list[Download] = []
    build: Build | None = None

    @property
    def opening(self) -> str | None:
        """When withheld labels were first opened (UTC), sealed or not; None while they are closed."""
        return self.seal.opened if self.seal else self.opened

    @property
    def required_downloads(self) -> list[Download]:
        """Downloads without which the dataset is incomplete."""
        return [one for one in self.downloads if not one.optional]

    @property
    def optional_downloads(self) -> list[Download]:
        """Downloads that go with the dataset, as other people's labels."""
        return [one for one in self.downloads if one.optional]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self._check_layout()
        if strange := sorted(set(self.class_map.values()) - set(self.classes)):
            raise ValueError(f"class_map: {strange[0]!r} is not a class of the dataset")
        if self.seal and self.labels != "withheld":
            raise ValueError("[seal] belongs to sets whose labels are withheld")
        if self.opened and (self.seal or self.labels != "withheld"):
            raise ValueError("opened belongs to sets whose labels are withheld and that have no [seal]")
        if self.clusters and self.layout != "arrays":
            raise ValueError("clusters belongs to layout 'arrays'")
        if self.publisher_classes and (strange := sorted(set(self.label_of) - set(self.publisher_classes))):
            raise ValueError(f"class_map: {strange[0]!r} is none of publisher_classes")
        self._check_build()
        self._check_views()
        return self

    def _check_layout(self) -> None:
        if (self.layout in ("derived", "cifar10-c")) != (self.derived is not None):
            raise ValueError("[derived] belongs to layouts 'derived' and 'cifar10-c', and only to them")
        if self.derived and (self.layout == "cifar10-c") != (self.derived.generator == "published"):
            raise ValueError("generator 'published' belongs to layout 'cifar10-c', and only to it")
        if self.layout in ("cifar10-binary", "arrays", "npz", "stl10-binary", "labels") and not self.files:
            raise ValueError(f"layout {self.layout!r} needs files")
        if self.layout == "labels" and (len(self.files) != 1 or self.labels != "given"):
            raise ValueError("layout 'labels' is one file of labels, which are given")
        if self.layout == "npz" and len(self.keys) != 2:
            raise ValueError("layout 'npz' needs keys: the names of images and labels")
        if self.pattern and (self.layout != "image-folder" or _broken(self.pattern)):
            raise ValueError(f"pattern: {_broken(self.pattern) or 'belongs to layout image-folder'}")
        if self.layout == "stl10-binary" and (len(self.files) != 2 or not self.publisher_classes):
            raise ValueError("layout 'stl10-binary' needs files, images and labels, and publisher_classes")

    def _check_build(self) -> None:
        if self.build is None:
            return
        grouped = "cluster" in re.compile(self.build.pattern).groupindex
        if self.layout != "arrays":
            raise ValueError("[build] makes arrays: it belongs to layout 'arrays'")
        if self.build.archive not in [one.file for one in self.downloads]:
            raise ValueError(f"build.archive: {self.build.archive!r} is none of the downloads")
        if len(self.files) != 2:
            raise ValueError("[build] makes images and labels: files needs two names")
        if grouped != bool(self.clusters):
            raise ValueError("build.pattern: group 'cluster' belongs to clusters, the file that it makes")

    def _check_views(self) -> None:
        for name, view in self.views.items():
            if strange := sorted(set(view.without_classes) - set(self.classes)):
                raise ValueError(
                    f"views.{name}: without_classes: {strange[0]!r} is not a class of the dataset"
                )
            if max(view.without_images, default=0) >= self.n:
                raise ValueError(f"views.{name}: without_images: expected positions below {self.n}")
            if view.edition and view.edition not in self.editions:
                raise ValueError(f"views.{name}: edition {view.edition!r} is not under [editions]")

    @property
    def label_of(self) -> dict[str, int]:
        """Our label of each of the publisher's class names that is kept."""
        names = self.class_map or {name: name for name in self.classes}
        return {theirs: self.classes.index(ours) for theirs, ours in names.items()}

    def edition(self, fingerprint: str) -> str:
        """Return what arrays with this fingerprint are called: "publisher", a named edition or a hash."""
        if fingerprint == self.fingerprint:
            return "publisher"
        named = (name for name, edition in self.editions.items() if edition.fingerprint == fingerprint)
        return next(named, fingerprint[:12])


def _broken(pattern: str) -> str:
    """Return what is wrong with a regular expression; empty when nothing is."""
    try:
        re.compile(pattern)
    except re.error as error:
        return f"is not a regular expression: {error}"
    return ""
