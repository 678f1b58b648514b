"""Draw the rooms of the library and the imports between them: ``python docs/house.py``.

The rows are the layers in ``pyproject.toml``, the arrows are read from the source. Left out are
arrows that others imply (where a room imports two, and the one of them imports the other, only the
longer way is drawn) and those to the lowest row, on which everything stands.
"""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURE = Path(__file__).with_name("house.svg")
WIDTH, ROW, BOX = 820, 78, 40  # of the picture, of a row, of a room: pixels
STYLE = 'fill="none" stroke="#5b6b7a" stroke-width="1.4" marker-end="url(#head)"'


def layers() -> list[list[str]]:
    """Return the rooms, row by row, as import-linter checks them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    return [row.split(" | ") for row in contract["layers"]]


def imports() -> dict[str, set[str]]:
    """Return which rooms each room imports."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "src/detl").rglob("*.py")):
        room = path.relative_to(ROOT / "src/detl").with_suffix("").parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "detl":
                inside = node.module.split(".")[1:2] or [alias.name for alias in node.names]
                found.setdefault(room, set()).update(set(inside) - {room})
    del found["__init__"]
    return found


def shown(arrows: dict[str, set[str]], ground: list[str]) -> list[tuple[str, str]]:
    """Return the arrows that no others imply."""

    def below(room: str) -> set[str]:
        direct = arrows.get(room, set())
        return direct.union(*map(below, direct))

    return [
        (room, other)
        for room, others in sorted(arrows.items())
        for other in sorted(others.difference(ground))
        if not any(other in below(between) for between in others - {other})
    ]


def drawing() -> str:
    """Return the picture, as SVG."""
    *rows, ground = layers()
    centre = {
        room: ((column + 0.5) * WIDTH / len(row), ROW * (index + 0.5))
        for index, row in enumerate(rows)
        for column, room in enumerate(row)
    }
    width = {room: 34 + 9 * len(room) for room in centre}
    arrows = shown(imports(), ground)
    height = ROW * (len(rows) + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="15" text-anchor="middle">',
        "<title>The rooms of detl and the imports between them</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#5b6b7a"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]

    def port(room: str, other: str, ends: list[str]) -> float:
        """Return where on the edge of its box an arrow begins or ends: side by side."""
        order = sorted(ends, key=lambda end: centre[end])
        share = (order.index(other) + 1) / (len(order) + 1) - 0.5
        return centre[room][0] + 0.8 * share * width[room]

    for room, other in arrows:
        x = port(room, other, [to for of, to in arrows if of == room])
        to_x = port(other, room, [of for of, to in arrows if to == other])
        y, to_y = centre[room][1] + BOX / 2, centre[other][1] - BOX / 2 - 2
        bend = 0.5 * (to_y - y)
        parts.append(
            f'<path d="M{x:.0f} {y:.0f}C{x:.0f} {y + bend:.0f} {to_x:.0f} {to_y - bend:.0f} '
            f'{to_x:.0f} {to_y:.0f}" {STYLE}/>'
        )
    for room, (x, y) in centre.items():
        parts.append(box(room, x, y, width[room]))
    parts.append(box("   ".join(ground), WIDTH / 2, height - ROW / 2, WIDTH - 40))
    return "\n".join([*parts, "</svg>", ""])


def box(text: str, x: float, y: float, width: float) -> str:
    """Return a rectangle with a text in it."""
    return (
        f'<rect x="{x - width / 2:.0f}" y="{y - BOX / 2:.0f}" width="{width:.0f}" '
        f'height="{BOX}" rx="6" fill="#e8f0f7" stroke="#2a5b84"/>'
        f'<text x="{x:.0f}" y="{y + 5:.0f}" fill="#12324c" xml:space="preserve">{text}</text>'
    )


if __name__ == "__main__":
    PICTURE.write_text(drawing(), encoding="utf-8")
