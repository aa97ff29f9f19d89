"""Curves drawn as text with braille characters, each a grid of 2 x 4 dots."""

import numpy as np

_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_COLORS = (34, 31, 32, 35, 36, 33)  # ANSI: blue, red, green, magenta, cyan, yellow
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_CLEAR = 12  # dots between a letter and the next curve that suffice
_BRAILLE_FRAME, _PLAIN_FRAME = "│┤└─┴", "||+-+"


class Canvas:
    """A grid of characters: the dots in each, and the curve that drew them last."""

    def __init__(self, columns: int, height: int, braille: bool) -> None:
        self.columns, self.height, self.braille = columns, height, braille
        self.dots = np.zeros((height, columns), int)
        self.owner = np.zeros((height, columns), int)
        self.paths: list[np.ndarray] = []  # the row of dots at each column of dots

    def draw(self, places: np.ndarray, curve: np.ndarray) -> None:
        """Draws a curve of heights from 0 to 1 at places from 0 to 1, in their order.

        It is interpolated where there are fewer points than columns of dots.
        """
        lows, highs = self._ranges(places, curve)
        index = len(self.paths)
        self.paths.append((lows + highs) / 2)
        for x, (low, high) in enumerate(zip(lows, highs, strict=True)):
            if np.isnan(low):
                continue
            for y in range(int(low), int(high) + 1):
                row, column = self.height - 1 - y // 4, x // 2
                self.dots[row, column] |= _DOTS[3 - y % 4, x % 2]
                self.owner[row, column] = index

    def _ranges(
        self, places: np.ndarray, curve: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the lowest and highest dot of each column, NaN if it has none."""
        width, top = 2 * self.columns, 4 * self.height - 1
        places = places * (width - 1.0)
        if 0 < len(curve) < width:
            between = np.arange(np.ceil(places[0]), np.floor(places[-1]) + 1)
            curve = np.append(np.interp(between, places, curve), curve)
            places = np.append(between, places)
        dots, at = np.round(curve * top), np.round(places).astype(int)
        lows, highs = np.full(width, np.inf), np.full(width, -np.inf)
        known = ~np.isnan(dots)
        np.minimum.at(lows, at[known], dots[known])
        np.maximum.at(highs, at[known], dots[known])
        lows[np.isinf(lows)] = highs[np.isinf(highs)] = np.nan
        for x in range(1, width):  # joins each column to the one before
            if lows[x] > highs[x - 1] + 1:
                lows[x] = highs[x - 1] + 1
            elif highs[x] < lows[x - 1] - 1:
                highs[x] = lows[x - 1] - 1
        return lows, highs

    def row(self, fraction: float) -> int:
        """Returns the row of characters at a height from 0 to 1."""
        return self.height - 1 - int(np.round(fraction * (4 * self.height - 1))) // 4

    def lines(self, color: bool) -> list[str]:
        letters = self._letters() if len(self.paths) > 1 else {}
        lines = []
        for row in range(self.height):
            line = ""
            for column in range(self.columns):
                dots = int(self.dots[row, column])
                owner = int(self.owner[row, column])
                if (row, column) in letters:
                    owner = letters[row, column]
                    line += tinted(letter(owner), owner, color)
                elif dots:
                    sign = chr(0x2800 + dots) if self.braille else "*"
                    line += tinted(sign, owner, color and len(self.paths) > 1)
                else:
                    line += " "
            lines.append(line)
        return lines

    def _letters(self) -> dict[tuple[int, int], int]:
        """Places a letter on each curve: clear of the others, near the middle."""
        places: dict[tuple[int, int], int] = {}
        for index, path in enumerate(self.paths):
            others = [other for i, other in enumerate(self.paths) if i != index]
            gap = np.min(np.abs(np.stack(others) - path), axis=0)
            gap = np.where(np.isnan(gap), _CLEAR, np.minimum(gap, _CLEAR))
            score = gap - _CLEAR / 2 * np.abs(np.linspace(-1, 1, len(gap)))
            for _, column in places:
                score[max(2 * column - 6, 0) : 2 * column + 7] -= _CLEAR
            score[np.isnan(path)] = -np.inf
            x = int(np.argmax(score))
            if np.isfinite(path[x]):
                places[self.height - 1 - int(path[x]) // 4, x // 2] = index
        return places


def frame_of(braille: bool) -> str:
    """The characters of a frame: side, tick, corner, bottom, tick."""
    return _BRAILLE_FRAME if braille else _PLAIN_FRAME


def letter(index: int) -> str:
    return _LETTERS[index % len(_LETTERS)]


def tinted(text: str, index: int, color: bool) -> str:
    return f"\x1b[{_COLORS[index % len(_COLORS)]}m{text}\x1b[0m" if color else text
