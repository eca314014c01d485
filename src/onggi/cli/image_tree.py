"""``images --tree``: images of several platforms with their platforms below them. Pure."""

from __future__ import annotations

from onggi.cli.filters import short_id
from onggi.cli.platform import format_platform
from onggi.cli.prompt import HEADER, PLAIN_HEADER
from onggi.cli.times import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

    Cells = tuple[str, ...]

WARNING = "WARNING: This is an experimental feature. The output may change and shouldn't be depended on."
_SPACING, _NARROWEST, _DEFAULT_WIDTH, _LEAST_WIDTH = "   ", 12, 80, 20
_COLUMNS = (("ID", 12, False), ("Disk usage", 10, True), ("Content size", 12, True))
_EXTRA = "Extra"
_RESET, _BOLD_BLUE, _BOLD, _FAINT, _NORMAL = (
    "\033[0m",
    "\033[34m\033[1m",
    "\033[39m\033[1m",
    "\033[2m",
    "\033[39m",
)
_IN_USE = "\033[38;5;0m\033[48;5;14m U \033[0m"


class _Image:
    """One line of the tree: its cells; the platforms of an image are its children."""

    def __init__(self, names: list[str], item: Json, sizes: tuple[int, int], used: bool) -> None:
        self.names, self.used, self.available = names, used, True
        digest = item.get("Id") or item.get("ID") or ""
        self.cells: Cells = (short_id(digest), human_size(sizes[0], 3), human_size(sizes[1], 3))
        self.children: list[_Image] = []


def _image(item: Json) -> _Image:
    manifests = item.get("Manifests") or []
    content = sum((manifest.get("Size") or {}).get("Content") or 0 for manifest in manifests)
    image = _Image(item.get("RepoTags") or [], item, (item.get("Size") or 0, content), _used(item))
    for manifest in manifests:
        if manifest.get("Kind") == "image":
            image.children.append(_child(manifest))
    image.used = image.used or any(child.used for child in image.children)
    return image


def _used(item: Json) -> bool:
    return int(item.get("Containers") or 0) > 0


def _child(manifest: Json) -> _Image:
    size, data = manifest.get("Size") or {}, manifest.get("ImageData") or {}
    name = format_platform(data.get("Platform") or {})
    sizes = (size.get("Total") or 0, size.get("Content") or 0)
    child = _Image([name], manifest, sizes, bool(data.get("Containers")))
    child.available = bool(manifest.get("Available"))
    return child


class Tree:
    """The tree of ``GET /images/json?manifests=1``; ``width`` is 0 where there is no terminal."""

    def __init__(self, items: list[Json], width: int) -> None:
        ordered = sorted(items, key=lambda item: -int(item.get("Created") or 0))
        self._images = [_image(item) for item in ordered]
        self._fancy, self._full = width > 0, width
        self._width = max(width or _DEFAULT_WIDTH, _LEAST_WIDTH)
        children = [child for image in self._images for child in image.children]
        self._chip = any(child.used for child in children)
        self._columns, self._name_width = self._layout(children)
        self._spaced = bool(children)

    def _layout(self, children: list[_Image]) -> tuple[int, int]:
        """Return how many columns fit beside the names, and the room for names."""
        room, fitting = self._width, 0
        for width in [*(column[1] for column in _COLUMNS), len(_EXTRA)]:
            if room - width - len(_SPACING) < _NARROWEST:
                break
            room, fitting = room - width - len(_SPACING), fitting + 1
        names = [len(name) for image in self._images for name in image.names]
        platforms = [len(child.names[0]) + 3 for child in children]
        return fitting, min(room, max(len("Image"), *names, *platforms, 0))

    def lines(self) -> list[str]:
        """Return the lines to print."""
        result = [self._paint("\033[93m", WARNING), self._legend(), "", self._title()]
        for image in self._images:
            result += self._lines_of(image)
        return result

    def _legend(self) -> str:
        header, chip = (HEADER, _IN_USE) if self._fancy else (PLAIN_HEADER, "U")
        plain = (
            len("i Info →  " if self._fancy else " Info ->  ") + (3 if self._fancy else 1) + len(" In Use ")
        )
        return " " * max(self._width - plain, 0) + f"{header} {chip} In Use "

    def _title(self) -> str:
        cells = [self._cell(_BOLD, "IMAGE", self._name_width)]
        cells += [self._cell(_BOLD, title.upper(), width, right) for title, width, right in self._shown()]
        if self._columns > len(_COLUMNS):
            cells.append(self._cell(_BOLD, _EXTRA.upper(), len(_EXTRA)))
        return _SPACING.join(cells)

    def _shown(self) -> tuple[tuple[str, int, bool], ...]:
        return _COLUMNS[: self._columns]

    def _lines_of(self, image: _Image) -> list[str]:
        names = sorted(image.names, key=len, reverse=True)
        lines = [self._paint(_BOLD_BLUE, _cut(name, self._full)) for name in names[:-1]]
        if names:
            first = self._cell(_BOLD_BLUE, names[-1], self._name_width)
        else:
            first = self._cell(_NORMAL + _FAINT, "<untagged>", self._name_width)
        lines.append(first + self._details(image, _NORMAL))
        for index, child in enumerate(image.children):
            branch = "└─ " if index == len(image.children) - 1 else "├─ "
            color = _NORMAL if child.available else _NORMAL + _FAINT
            cell = self._cell(color, branch + child.names[0], self._name_width)
            lines.append(cell + self._details(child, color))
        return [*lines, ""] if self._spaced else lines

    def _details(self, image: _Image, color: str) -> str:
        cells = [
            self._cell(color, cell, width, right)
            for cell, (_, width, right) in zip(image.cells, self._shown(), strict=False)
        ]
        if self._columns > len(_COLUMNS):
            cells.append(self._extra(image))
        return "".join(_SPACING + cell for cell in cells)

    def _extra(self, image: _Image) -> str:
        if not self._chip:
            return " " * len(_EXTRA)
        width = 3 if self._fancy else 1
        chip = (_IN_USE if self._fancy else "U") if image.used else " " * width
        return chip + " " * (len(_EXTRA) - width)

    def _cell(self, color: str, text: str, width: int, right: bool = False) -> str:
        if len(text) > width:
            return self._paint(color, _cut(text, width))
        blank = " " * (width - len(text))
        return blank + self._paint(color, text) if right else self._paint(color, text) + blank

    def _paint(self, color: str, text: str) -> str:
        return f"{color}{text}{_RESET}" if self._fancy else text


def _cut(text: str, width: int) -> str:
    return text[: width - 1] + "…" if 0 < width <= len(text) else text
