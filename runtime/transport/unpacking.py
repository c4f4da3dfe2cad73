"""Compressed bodies, a piece at a time, so that a small one cannot become a large one unasked."""

from __future__ import annotations

import zlib

_PIECE = 256 * 2**10
"""The most that is unpacked at once."""


class Unpacker:
    """`feed` unpacks what it is given, up to a bound; what it could not yet, is `rest` and wants to be fed again."""

    __slots__ = ("_begun", "_inflate", "_known", "rest")

    def __init__(self, *, known: bool = True) -> None:
        self.rest = b""
        self._known = known
        self._begun = False
        # 32: gzip or zlib, as the first bytes say.
        self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)

    @property
    def is_whole(self) -> bool:
        """Whether what was fed so far ends where a compressed body may."""
        return not self._begun or self._inflate.eof

    def feed(self, data: bytes) -> bytes | None:
        """None where it is not compressed as was said. The result may be empty before there is anything to tell."""
        if not self._known:
            return None
        if not self._begun and data:
            self._begun = True
            # What calls itself deflate should be zlib, and now and then is raw.
            if data[0] & 0x0F != 8 and data[0] != 0x1F:
                self._inflate = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        if self._inflate.eof and data:
            # Of gzip several may stand one after the other.
            self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        try:
            unpacked = self._inflate.decompress(data, _PIECE)
        except zlib.error:
            return None
        self.rest = self._inflate.unconsumed_tail or self._inflate.unused_data
        return unpacked


def unpacker(encoding: str) -> Unpacker | None:
    """For a body of this Content-Encoding; None where there is nothing to unpack."""
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return Unpacker()
        case _:
            return Unpacker(known=False)
