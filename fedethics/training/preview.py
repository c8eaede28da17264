"""A charter's own chat template, tried on made-up conversations before anybody's records are."""

from __future__ import annotations

from fedethics.charter.model import Charter
from fedethics.training.chat import ChatSettings, try_out
from fedethics.training.template_process import limits_are_known


def try_charter_template(charter: Charter) -> None:
    """Render a made-up conversation of the greatest size that the charter allows.

    Nothing where the charter has no template, or where this system cannot limit what one takes:
    such systems render no record either.

    Raises:
        ModelError: it is not one that Jinja reads, or it runs over its limits.
    """
    template, content = charter.model.chat_template, charter.data.content
    if template and limits_are_known():
        turns, characters = (content.max_turns, content.max_characters) if content else (2, 1000)
        try_out(ChatSettings(template), turns=turns, characters=characters)
