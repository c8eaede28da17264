"""Ways to disturb a message, unsigned or signed anew."""

from __future__ import annotations

from fedethics.secagg import framing


def signed(federation, message, kind, *, identity=None, body=None, **changes):
    frame = framing.decode(message, kind=kind, max_body_bytes=1 << 30)
    header = {key: value for key, value in {**frame.header, **changes}.items() if value != "GONE"}
    return framing.encode(
        kind,
        header,
        bytes(frame.body) if body is None else body,
        identity=identity or federation.key,
    )


def mutations(message, generator):
    """Unsigned disturbances: flips, cuts, insertions, repetitions."""
    position = generator.randrange(len(message))
    flipped = bytearray(message)
    flipped[position] ^= 1 << generator.randrange(8)
    yield bytes(flipped)
    yield message[:position]
    yield message[:position] + generator.randbytes(generator.randrange(1, 40)) + message[position:]
    yield message + message[position:]
    yield generator.randbytes(generator.randrange(200))
