"""SVG plots of figures: each against its budget and the recorded peers, and how they went by commit. One
axis for all: how many times the budget, logarithmic."""

import math
from xml.sax.saxutils import escape

LEFT, RIGHT, TOP, ROW, WIDTH = 180, 150, 56, 26, 900
INK, OURS, PEERS, GRID = "#222", "#1f6f8b", "#c1562e", "#ddd"
COLOURS = ("#1f6f8b", "#c1562e", "#5b8c2a", "#8a4f9e", "#b8860b", "#4a4a8a", "#a33b5e", "#3b8e7a")


class Drawing:
    def __init__(self, height, low, high, title):
        """low, high: powers of ten at the axis' ends."""
        self.low, self.high, self.height = low, high, height
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
                      f'font-family="sans-serif" font-size="12" fill="{INK}">',
                      '<rect width="100%" height="100%" fill="white"/>']
        self.text(12, 20, title, size=14)

    def text(self, x, y, words, anchor="start", size=12, colour=INK):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
                          f'fill="{colour}">{escape(words)}</text>')

    def line(self, x1, y1, x2, y2, colour=GRID, width=1):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
                          f'stroke-width="{width}"/>')

    def bar(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height}" '
                          f'fill="{colour}"/>')

    def dot(self, x, y, colour, said):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}">'
                          f'<title>{escape(said)}</title></circle>')

    def share(self, ratio):
        """Where a ratio is on the axis: 0 to 1, clamped."""
        at = (math.log10(max(ratio, 1e-9)) - self.low) / (self.high - self.low)
        return min(max(at, 0), 1)

    def done(self):
        return "\n".join([*self.parts, "</svg>"]) + "\n"


def short(value):
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def against_budgets(figures):
    """One row for each figure that has a budget: our bar, the budget's line, a dot for each peer."""
    rows = [entry for entry in figures if entry["most"]]
    drawing = Drawing(TOP + ROW * len(rows) + 20, -2, 2, "Figures: times the budget (line: the budget; dots: peers)")

    def x(ratio):
        return LEFT + drawing.share(ratio) * (WIDTH - LEFT - RIGHT)
    bottom = TOP + ROW * len(rows)
    for power in range(-2, 3):
        drawing.line(x(10.0 ** power), TOP - 8, x(10.0 ** power), bottom, INK if power == 0 else GRID)
        drawing.text(x(10.0 ** power), TOP - 12, f"{10.0 ** power:g}", "middle", 11)
    for number, entry in enumerate(rows):
        y, most = TOP + ROW * number, entry["most"]
        drawing.text(LEFT - 8, y + 15, entry["id"], "end")
        drawing.bar(x(0), y + 4, x(entry["value"] / most) - x(0), ROW - 12, OURS)
        for peer in entry["peers"]:
            drawing.dot(x(peer["value"] / most), y + 11, PEERS,
                        f"{peer['peer']} {peer['what']}: {peer['value']:,}")
        drawing.text(WIDTH - RIGHT + 8, y + 15, f"{short(entry['value'])} of {short(most)}", size=11)
    return drawing.done()


def by_commit(records):
    """A line for each figure with a budget, over the recorded commits."""
    names = sorted({name for record in records for name, entry in record["figures"].items() if entry["most"]})
    height = max(360, TOP + 16 * len(names) + 60)
    drawing = Drawing(height, -2, 1, "Figures by recorded commit: times the budget then")
    top, bottom = TOP, height - 40

    def y(ratio):
        return bottom - drawing.share(ratio) * (bottom - top)

    def x(number):
        return 60 + number * (WIDTH - RIGHT - 80) / max(len(records) - 1, 1)
    for power in range(-2, 2):
        drawing.line(60, y(10.0 ** power), WIDTH - RIGHT, y(10.0 ** power), INK if power == 0 else GRID)
        drawing.text(52, y(10.0 ** power) + 4, f"{10.0 ** power:g}", "end", 11)
    for number, record in enumerate(records):
        drawing.text(x(number), bottom + 18, record["commit"][:7], "middle", 10)
    for index, name in enumerate(names):
        colour = COLOURS[index % len(COLOURS)]
        points = [(x(number), y(record["figures"][name]["value"] / record["figures"][name]["most"]))
                  for number, record in enumerate(records)
                  if record["figures"].get(name, {}).get("most")]
        for (x1, y1), (x2, y2) in zip(points, points[1:]):
            drawing.line(x1, y1, x2, y2, colour, 2)
        for at in points:
            drawing.dot(*at, colour, name)
        drawing.text(WIDTH - RIGHT + 10, top + 16 * index, name, size=11, colour=colour)
    return drawing.done()
