"""A sensitive feature and its groups, as the charter declares them."""

from __future__ import annotations

from dataclasses import dataclass

from fedethics.errors import FairnessError

INTERSECTION = "*"


@dataclass(frozen=True, kw_only=True, slots=True)
class SensitiveFeature:
    """One sensitive feature and the group values that the charter declares for it.

    Raises:
        FairnessError: no name, no groups, repeated groups, or a `*` (it joins intersections).
    """

    name: str
    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.groups or len(set(self.groups)) != len(self.groups):
            raise FairnessError(
                f"sensitive feature {self.name!r} needs distinct group values, got {self.groups!r}"
            )
        for word in (self.name, *self.groups):
            if not word.strip() or INTERSECTION in word:
                raise FairnessError(
                    f"{word!r} cannot name a sensitive feature or a group: it is empty or holds "
                    f"{INTERSECTION!r}, which joins the features of an intersection"
                )
