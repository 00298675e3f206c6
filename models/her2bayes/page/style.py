"""One look for all figures: palette, matplotlib settings, small SVG that follows the page's theme.

Figures are drawn at 72 dpi, so one point is one CSS pixel at natural size. A drawing up to
``PANEL_WIDTH`` wide shrinks with the page; a wider one keeps its size and scrolls in its own box.
Text stays text (it can be searched, selected and read at any zoom), colours of the palette become
CSS variables, so that one drawing serves the light and the dark theme. A mark given ``tip(words)``
as its gid tells these words under the pointer and, once for each mark, to the keyboard.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, FAINT, PAPER = "#1b1f24", "#5c6773", "#d3d9e0", "#fefefe"

# Okabe & Ito 2008: told apart under the common forms of colour blindness
ORANGE, SKY, GREEN, YELLOW = "#e69f00", "#56b4e9", "#009e73", "#f0e442"
BLUE, VERMILLION, PURPLE = "#0072b2", "#d55e00", "#cc79a7"
PALETTE = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, YELLOW)

CLASS_COLOURS = {
    "zero": ORANGE,
    "ultralow": SKY,
    "low": BLUE,
    "positive": GREEN,
    "negative": VERMILLION,
}

# colour drawn -> (CSS variable, value in the light theme, value in the dark theme)
THEME: dict[str, tuple[str, str, str]] = {
    INK: ("ink", INK, "#e8ebef"),
    MUTED: ("muted", MUTED, "#a3aeba"),
    FAINT: ("faint", FAINT, "#3b444f"),
    PAPER: ("paper", PAPER, "#15191e"),
    ORANGE: ("orange", ORANGE, "#f0b02e"),
    SKY: ("sky", SKY, "#8fd0f5"),
    GREEN: ("green", GREEN, "#2bc197"),
    YELLOW: ("yellow", "#d9cc1f", YELLOW),
    BLUE: ("blue", BLUE, "#4aa3e0"),
    VERMILLION: ("vermillion", VERMILLION, "#f2823c"),
    PURPLE: ("purple", PURPLE, "#dd9abf"),
}

_NIGHT = "#14171b"  # no colour of the palette: the same in both themes

PANEL_WIDTH = 430  # px; wider drawings scroll on a phone instead of shrinking

_SETTINGS: dict[str, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "her2bayes",
    "figure.dpi": 72,
    "savefig.dpi": 72,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "text.parse_math": False,  # a dollar sign in a label is a dollar sign
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 11,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 11,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 10.5,
}


class Figures:
    """Figures of an analysis by name: ``fit.figures.survival("her2")`` is a matplotlib Figure.

    With ``width`` in mm it is made for a column of a journal (85) or for two (170): that wide, no
    text below 7 pt, panels side by side below each other where there is no room.
    """

    def __init__(self, drawings: Mapping[str, Callable[..., Figure]]) -> None:
        self._drawings = dict(drawings)

    def __getattr__(self, name: str) -> Callable[..., Figure]:
        """Return the function that draws the figure of this name."""
        try:
            draw = self._drawings[name]
        except KeyError:
            raise AttributeError(f"no figure '{name}'; there are: {', '.join(self)}") from None

        @wraps(draw)
        def drawn(*args: Any, width: float | None = None, **options: Any) -> Figure:
            made = draw(*args, **options)
            return made if width is None else sized(made, width)

        return drawn

    def __iter__(self) -> Any:
        """Iterate over the names of the figures."""
        return iter(self._drawings)

    def __dir__(self) -> Iterable[str]:
        """Offer the names of the figures to completion."""
        return list(self._drawings)

    def __repr__(self) -> str:
        """Name the figures."""
        return f"figures: {', '.join(self)}"


def colours(categories: Sequence[str]) -> dict[str, str]:
    """Give each category a colour of the palette; HER2 classes keep theirs on every figure."""
    spare = iter([c for c in PALETTE if c not in {CLASS_COLOURS.get(k) for k in categories}] * 3)
    return {name: CLASS_COLOURS.get(name) or next(spare, MUTED) for name in categories}


def text_on(colour: str) -> str:
    """Colour of text on a filled area that can be read in both themes."""
    return PAPER if colour == BLUE else _NIGHT


def tip(words: str, *, again: bool = False) -> str:
    """Give the gid of a mark that tells ``words``; ``again`` for a further piece of the mark."""
    return f"{_TIP_AGAIN if again else _TIP}{words}"


@contextmanager
def drawing() -> Iterator[None]:
    """Draw figures within this block: settings of the house, no display, no global state left."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcParams.update(_SETTINGS)
        yield


def new_figure(width: float, height: float, **subplots: Any) -> tuple[Figure, Any]:
    """Start a figure of ``width`` by ``height`` CSS pixels; returns it and its axes."""
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(width / 72, height / 72))
    return figure, figure.subplots(**subplots)


LEAST_TEXT = 7.0
"""Smallest text of a figure for a journal, pt."""
_MM = 72 / 25.4
_LEAST_PART = 0.3  # of the figure, that axes keep when they give way to text
_NARROWEST = 150.0  # pt of a panel, below which panels stand below each other


def sized(figure: Figure, width: float) -> Figure:
    """Make a figure ``width`` mm wide without text below ``LEAST_TEXT``; it is changed in place.

    Lines, marks and texts shrink alike; where the text would become too small, it keeps its least
    size, the figure is higher in proportion, and axes give way until every text is inside.
    """
    with drawing():
        figure.set_dpi(72)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        target = width * _MM
        panels = _panels(figure)
        if len(panels) > 1 and target / len(panels) < _NARROWEST:
            _stack(figure, panels)
        wide, high = (72 * float(side) for side in figure.get_size_inches())
        least = min([text.get_fontsize() for text in _texts(figure)], default=LEAST_TEXT)
        scale = max(min(1.0, target / wide), LEAST_TEXT / least)
        figure.set_size_inches(target / 72, high * scale / 72)
        _shrink(figure, scale)
        for _ in range(3):
            _thin(figure)
            _inside(figure)
    return figure


def _texts(figure: Figure, ticks: bool = True) -> list[Any]:
    """Every text that is drawn, the labels of ``ticks`` among them."""
    found = [*figure.texts, *(t for legend in figure.legends for t in legend.get_texts())]
    for axes in figure.axes:
        legend = axes.get_legend()
        titles = (getattr(axes, name) for name in ("title", "_left_title", "_right_title"))
        found += [*titles, *axes.texts]
        found += legend.get_texts() if legend else []
        if axes.axison:
            found += [axes.xaxis.label, axes.yaxis.label]
        if axes.axison and ticks:
            found += [*_labels(axes.xaxis), *_labels(axes.yaxis)]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def _labels(axis: Any) -> list[Any]:
    """Labels of the ticks of an axis that lie within it."""
    low, high = sorted(axis.get_view_interval())
    return [
        label
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
        if label.get_visible() and label.get_text().strip()
        and low - 1e-9 * abs(low) <= tick.get_loc() <= high + 1e-9 * abs(high)
    ]  # fmt: skip


def _panels(figure: Figure) -> list[Any]:
    """Axes that stand side by side in one row, from the left; none where they do not."""
    boxes = {axes: axes.get_position() for axes in figure.axes}
    row = sorted(figure.axes, key=lambda axes: boxes[axes].x0)
    apart = all(boxes[a].x1 <= boxes[b].x0 + 1e-6 for a, b in pairwise(row))
    return row if apart else []


def _stack(figure: Figure, panels: Sequence[Any]) -> None:
    """Put panels below each other, with the labels of the first where they have none."""
    number = len(panels)
    wide, high = (float(side) for side in figure.get_size_inches())
    boxes = [axes.get_position() for axes in panels]
    edges = [0.0, *(boxes[k].x0 - 8 / (72 * wide) for k in range(1, number)), 1.0]
    widest = max(b - a for a, b in pairwise(edges))
    labels = [text.get_text() for text in panels[0].get_yticklabels()]
    told = {text: text.get_position() for text in figure.texts}
    for place, (axes, box) in enumerate(zip(panels, boxes, strict=True)):
        above, left = number - 1 - place, edges[place]

        def moved(x: float, y: float, left: float = left, above: int = above) -> Any:
            return (x - left) / widest, (y + above) / number

        corner = moved(box.x0, box.y0)
        axes.set_position((*corner, box.width / widest, box.height / number))
        for text in (t for t, at in told.items() if left <= at[0] < edges[place + 1]):
            text.set_position(moved(*told[text]))
        bare = not any(text.get_text() for text in axes.get_yticklabels())
        if place and bare and any(labels) and axes.get_ylim() == panels[0].get_ylim():
            axes.set_yticks(panels[0].get_yticks(), labels)
    figure.set_size_inches(wide * widest, high * number)


def _shrink(figure: Figure, scale: float) -> None:
    from matplotlib.collections import Collection
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.text import Annotation

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if labels := _labels(axis):
                size = max(LEAST_TEXT, labels[0].get_fontsize() * scale)
                axis.set_tick_params(which="both", labelsize=size)
    for text in _texts(figure, ticks=False):
        text.set_fontsize(max(LEAST_TEXT, text.get_fontsize() * scale))
        if isinstance(text, Annotation) and text.anncoords == "offset points":
            across, up = text.xyann
            text.xyann = scale * across, scale * up
    for line in figure.findobj(Line2D):
        line.set_linewidth(line.get_linewidth() * scale)
        line.set_markersize(line.get_markersize() * scale)
    for mark in figure.findobj(Collection):
        widths: Any = mark.get_linewidth()
        mark.set_linewidth([one * scale for one in widths])
    for patch in figure.findobj(Patch):
        patch.set_linewidth(patch.get_linewidth() * scale)


def _thin(figure: Figure) -> None:
    """Leave out every second label of an axis whose labels meet."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in _labels(axes.xaxis)]
        if any(a.x1 > b.x0 - 1 for a, b in pairwise(sorted(boxes, key=lambda box: box.x0))):
            ticks = dict(zip(axes.get_xticks(), (t.get_text() for t in axes.get_xticklabels()),
                             strict=False))  # fmt: skip
            kept = [tick for tick, text in ticks.items() if text.strip()][::2]
            axes.set_xticks(kept, [ticks[tick] for tick in kept])


def _inside(figure: Figure) -> None:
    """Make all axes smaller until no text crosses an edge of the figure."""
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in _texts(figure)]
    size = figure.bbox.size
    low = [max([0.0, *(1 - box.min[k] for box in boxes)]) / size[k] for k in (0, 1)]
    high = [max([0.0, *(box.max[k] - size[k] + 1 for box in boxes)]) / size[k] for k in (0, 1)]
    part = [1 - a - b for a, b in zip(low, high, strict=True)]
    if min(part) < _LEAST_PART:
        return
    for axes in figure.axes:
        box = axes.get_position()
        corner = [a + p * x for a, p, x in zip(low, part, box.min, strict=True)]
        axes.set_position((*corner, box.width * part[0], box.height * part[1]))


def svg(*figures: Figure, key: Figure | None = None) -> str:
    """Give the figures as small, deterministic SVG for one place on the page.

    Several figures are panels that stand side by side where there is room, under the ``key``. No
    date, no metadata, no style element, no style attribute (the page's content policy forbids
    them), ids prefixed with a hash of the drawing so that two drawings never share one.
    """
    head = _compact(_raw(key), "key") if key is not None else ""
    return head + "".join(_compact(_raw(figure)) for figure in figures)


def css_variables(dark: bool) -> str:
    """CSS declarations of the palette in one theme."""
    return " ".join(f"--{name}: {night if dark else day};" for name, day, night in THEME.values())


def _raw(figure: Figure) -> str:
    buffer = io.StringIO()
    with drawing():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_DROPPED = {"font-family", "stroke-linejoin"}
_TIP, _TIP_AGAIN = "tip: ", "tip again: "


def _compact(source: str, kind: str = "") -> str:
    root = ElementTree.fromstring(source)
    prefix = "f" + sha256(source.encode()).hexdigest()[:7]
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"}:
                parent.remove(child)
    used = set(re.findall(r'(?:href="#|url\(#)([\w.-]+)', source))
    for element in root.iter():
        _rewrite(element, prefix, used)
    _flatten(root)
    width, height = (round(float(n)) for n in root.attrib["viewBox"].split()[2:])
    root.attrib = {
        "viewBox": f"0 0 {width} {height}",
        "width": str(width),
        "height": str(height),
        "class": kind or ("panel" if width <= PANEL_WIDTH else "wide"),
        "stroke-linejoin": "round",
    }
    if _TIP not in source:  # nothing to reach: the place on the page has the words
        root.attrib |= {"aria-hidden": "true", "focusable": "false"}
    text = ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)
    text = re.sub(r"<(/?)(?:ns\d+|svg):", r"<\1", text)
    return re.sub(r' xmlns(?::\w+)?="[^"]*"', "", text).replace(" />", "/>")


def _rewrite(element: ElementTree.Element, prefix: str, used: set[str]) -> None:
    attributes: dict[str, str] = {}
    for name, value in element.attrib.items():
        if name == "style":
            attributes.update(_presentation(value))
        elif name == "id":
            attributes |= _told(element, value)
            if value in used:
                attributes["id"] = f"{prefix}-{value}"
        elif name == f"{{{_LINK}}}href":
            attributes["href"] = f"#{prefix}-{value[1:]}"
        elif not (name == "transform" and value.startswith("rotate(-0 ")):
            attributes[name] = _short(value.replace("url(#", f"url(#{prefix}-"))
    element.attrib = attributes
    element.tail = None
    if element.tag not in _WORDS:
        element.text = None


_WORDS = {f"{{{_SVG}}}{name}" for name in ("text", "tspan", "title")}


def _told(element: ElementTree.Element, gid: str) -> Mapping[str, str]:
    """Attributes of a mark with a tip; its first piece can be reached and has a title."""
    if gid.startswith(_TIP_AGAIN):
        return {"data-tip": gid.removeprefix(_TIP_AGAIN), "class": "tip again"}
    if not gid.startswith(_TIP):
        return {}
    words = gid.removeprefix(_TIP)
    title = ElementTree.Element(f"{{{_SVG}}}title")
    title.text = words
    element.insert(0, title)
    return {"data-tip": words, "class": "tip", "role": "img", "aria-label": words, "tabindex": "0"}


def _presentation(style: str) -> Mapping[str, str]:
    pairs = [part.split(":", 1) for part in style.split(";") if ":" in part]
    kept = {name.strip(): _short(value.strip()) for name, value in pairs}
    return {name: _themed(value) for name, value in kept.items() if name not in _DROPPED}


def _themed(value: str) -> str:
    name = THEME.get(value.lower(), ("", "", ""))[0]
    return f"var(--{name})" if name else value


def _short(value: str) -> str:
    rounded = _NUMBER.sub(lambda match: f"{round(float(match.group()), 2):g}", value)
    return " ".join(rounded.split())


def _flatten(parent: ElementTree.Element) -> None:
    children: list[ElementTree.Element] = []
    for child in list(parent):
        _flatten(child)
        if child.tag == f"{{{_SVG}}}g" and not child.attrib:
            children.extend(child)
        elif not _invisible(child):
            children.append(child)
        parent.remove(child)
    parent.extend(children)


def _invisible(element: ElementTree.Element) -> bool:
    if element.tag == f"{{{_SVG}}}defs":
        return len(element) == 0
    unpainted = element.get("fill") == "none" and "stroke" not in element.attrib
    return element.tag == f"{{{_SVG}}}path" and unpainted and "id" not in element.attrib
