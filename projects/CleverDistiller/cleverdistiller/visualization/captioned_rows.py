"""A sheet of panels in rows, each row with a heading, below a title and what a reader must know."""

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw

from cleverdistiller.visualization.frame_sheet import BANNER_PX, GAP_PX, WIDTH_PX, draw_banner
from cleverdistiller.visualization.panel_style import FAINT_INK, GROUND, INK, letters

TITLE_PX, NOTE_PX, HEADING_PX = 64, 36, 54
LETTERS_A_LINE = 185  # of a note, at the sheet's width

Rows = Sequence[tuple[str, Sequence[Image.Image]]]


def stack_rows(title: str, notes: Sequence[str], rows: Rows, simulated: bool) -> Image.Image:
    """Draw a whole sheet.

    Args:
        title (str): One line.
        notes (Sequence[str]): Paragraphs below it.
        rows (Rows): Heading and panels of each row, none wider than the sheet together.
        simulated (bool): Whether to put the banner of simulated frames on top.

    Returns:
        Image.Image: RGB, ``WIDTH_PX`` wide.
    """
    lines = [line for note in notes for line in textwrap.wrap(note, LETTERS_A_LINE)]
    heights = [max(panel.height for panel in panels) for _, panels in rows]
    top = BANNER_PX if simulated else 0
    above = top + TITLE_PX + len(lines) * NOTE_PX
    sheet = Image.new('RGB', (WIDTH_PX, above + sum(heights) + len(rows) * (HEADING_PX + GAP_PX)), GROUND)
    pen = ImageDraw.Draw(sheet)
    if simulated:
        draw_banner(pen)
    pen.text((2 * GAP_PX, top + TITLE_PX / 2), title, anchor='lm', fill=INK, font=letters(32, bold=True))
    for row, line in enumerate(lines):
        middle = top + TITLE_PX + (row + 0.5) * NOTE_PX
        pen.text((2 * GAP_PX, middle), line, anchor='lm', fill=FAINT_INK, font=letters(24))
    top = above
    for (heading, panels), height in zip(rows, heights):
        pen.text((2 * GAP_PX, top + HEADING_PX / 2), heading, anchor='lm', fill=INK, font=letters(26, bold=True))
        top += HEADING_PX
        left = (WIDTH_PX - sum(panel.width for panel in panels) - GAP_PX * (len(panels) - 1)) // 2
        for panel in panels:
            sheet.paste(panel, (left, top))
            left += panel.width + GAP_PX
        top += height + GAP_PX
    return sheet
