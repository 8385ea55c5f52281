"""Records programs on a terminal, and writes what they print as an SVG. Used by pictures.py; standard library only.

Lines of a recording appear one after the other (CSS animation, once). A viewer without animation shows all of them.
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time
from xml.sax.saxutils import escape

CHARACTER_WIDTH, LINE_HEIGHT, FONT_SIZE, MARGIN = 8.0, 18, 13, 16
# Seconds before the output of a command starts and between its recorded lines, at most.
TYPING_SECONDS, PAUSE_SECONDS_MAX = 1.2, 0.6
# Rows of the pseudo-terminal of a recording.
ROWS = 60

# Colours of a terminal by their number (ECMA-48, SGR 30 to 37), as bright as they are readable on the background.
COLORS = ["#484f58", "#ff7b72", "#7ee787", "#e3b341", "#79c0ff", "#d2a8ff", "#76e3ea", "#e6edf3"]
BACKGROUND, FOREGROUND, DIM, PROMPT = "#161b22", "#e6edf3", "#8b949e", "#7ee787"


class Style:
    """The graphic rendition of a character (SGR of ECMA-48)."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.fill, self.is_bold, self.is_dim, self.is_reverse, self.is_underlined = None, False, False, False, False

    def set(self, parameters):
        codes = [int(code or 0) for code in parameters.split(";")]
        while codes:
            code = codes.pop(0)
            if code == 0:
                self.reset()
            elif code in (38, 48) and codes[:1] == [5]:
                color = codes[1] if len(codes) > 1 else 7
                del codes[:2]
                if code == 38:
                    self.fill = COLORS[color % 8] if color < 16 else FOREGROUND
            elif 30 <= code <= 37 or 90 <= code <= 97:
                self.fill = DIM if code == 90 else COLORS[code % 10]
            elif code == 39:
                self.fill = None
            elif code in (1, 2, 4, 7):
                setattr(self, {1: "is_bold", 2: "is_dim", 4: "is_underlined", 7: "is_reverse"}[code], True)
            elif code == 22:
                self.is_bold = self.is_dim = False
            elif code in (24, 27):
                setattr(self, {24: "is_underlined", 27: "is_reverse"}[code], False)

    def attributes(self):
        fill = self.fill or (DIM if self.is_dim else None)
        if self.is_reverse:
            fill = BACKGROUND
        found = f' fill="{fill}"' if fill else ""
        found += ' font-weight="bold"' if self.is_bold else ""
        return found + (' text-decoration="underline"' if self.is_underlined else "")

    def background(self):
        return (self.fill or FOREGROUND) if self.is_reverse else None


def record(command, environment, place, columns):
    """Runs a command in a directory on a pseudo-terminal. Returns its lines, each with the pause in seconds before it."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    child = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, cwd=place)
    os.close(terminal)
    lines, partial, last = [], b"", time.monotonic()
    while True:
        try:
            received = os.read(controller, 65536)
        except OSError:  # EIO: no process has the terminal open any more.
            break
        if not received:
            break
        *complete, partial = (partial + received).split(b"\n")
        for line in complete:
            now = time.monotonic()
            lines.append((min(now - last, PAUSE_SECONDS_MAX), line.decode().rstrip("\r")))
            last = now
    os.close(controller)
    child.wait()
    return lines


def text_of(line, row, style):
    """The elements of a line. `style` is that at its beginning, and is left as it is at its end."""
    y, column = MARGIN + (row + 1) * LINE_HEIGHT, 0
    for index, part in enumerate(re.split(r"\x1b\[([0-9;]*)m", line)):
        if index % 2 == 1:
            style.set(part)
            continue
        if style.background() and part:
            x, width = MARGIN + column * CHARACTER_WIDTH, len(part) * CHARACTER_WIDTH
            top = y - LINE_HEIGHT + 5
            yield f'<rect x="{x:g}" y="{top}" width="{width:g}" height="{LINE_HEIGHT}" fill="{style.background()}"/>'
        # Blanks need no text, and columns must not depend on the font.
        for word in re.finditer(r"\S+(?: \S+)*", part):
            x, width = MARGIN + (column + word.start()) * CHARACTER_WIDTH, len(word.group()) * CHARACTER_WIDTH
            fitted = f'x="{x:g}" y="{y}" textLength="{width:g}" lengthAdjust="spacingAndGlyphs"{style.attributes()}'
            yield f"<text {fitted}>{escape(word.group())}</text>"
        column += len(part)


def screen(lines, columns, label):
    """The SVG of a screen at one moment."""
    style, body = Style(), []
    for row, line in enumerate(lines):
        body += text_of(line, row, style)
    return document(body, len(lines), columns, label, "")


def recording(commands, surroundings, columns, label):
    """The SVG of commands, each a list of words and the text that a person would type. `surroundings` is an environment and a directory."""
    body, row, seconds = [], 0, 0.3

    def appear(line):
        nonlocal row
        body.append(f'<g style="animation-delay:{seconds:.2f}s">')
        body.extend(text_of(line, row, Style()))
        body.append("</g>")
        row += 1

    for command, typed in commands:
        appear(f"\x1b[32m$\x1b[0m \x1b[1m{typed}\x1b[0m")
        seconds += TYPING_SECONDS
        for pause, line in record(command, *surroundings, columns):
            seconds += pause
            appear(line)
        row += 1
        seconds += 1
    animation = (
        "g{animation:appear .01s step-end both}@keyframes appear{from{visibility:hidden}}"
        "@media(prefers-reduced-motion:reduce){g{animation:none}}"
    )
    return document(body, row, columns, label, animation)


def document(body, rows, columns, label, style):
    width, height = columns * CHARACTER_WIDTH + 2 * MARGIN, rows * LINE_HEIGHT + 2 * MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" width="{width:g}" height="{height}"'
        f' role="img" aria-label="{escape(label)}">\n'
        f"<style>text{{font:{FONT_SIZE}px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre}}{style}"
        "</style>\n"
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}" stroke="{DIM}"/>\n'
        f'<g fill="{FOREGROUND}" style="animation:none">\n' + "\n".join(body) + "\n</g>\n</svg>\n"
    )
