#!/usr/bin/env python3
"""Records apm2-ledger on a pseudo-terminal and writes the recording as an SVG.

Usage: docs/terminal.py PROGRAM > docs/terminal.svg    (PROGRAM: target/debug/apm2-ledger)

The lines appear one after the other (CSS animation, once). A viewer without animation shows the complete recording.
Standard library only.
"""

import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
import time
from xml.sax.saxutils import escape

COLUMNS, ROWS = 108, 60
CHARACTER_WIDTH, LINE_HEIGHT, FONT_SIZE, MARGIN = 8.0, 18, 13, 16
# Seconds before the output of a command starts and between its recorded lines, at most.
TYPING_SECONDS, PAUSE_SECONDS_MAX = 1.2, 0.6

COMMANDS = [
    "run --name demo --restart on-failure --max-restarts 2 --backoff 500ms -- sh -c 'echo working; exit 7'",
    "list --all",
    "show demo --events 8",
]

# SGR parameters (ECMA-48) to colours of the recording.
COLORS = {"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "36": "#79c0ff", "2": "#8b949e", "90": "#8b949e"}
BACKGROUND, FOREGROUND, PROMPT = "#161b22", "#e6edf3", "#7ee787"


def record(program, ledger, arguments):
    """Runs one command on a pseudo-terminal. Returns its lines, each with the pause in seconds before it."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {"PATH": os.environ["PATH"], "HOME": ledger, "TERM": "xterm-256color", "TZ": "UTC"}
    command = [program, "--color", "always", "--ledger", os.path.join(ledger, "ledger"), *arguments]
    child = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, cwd="/tmp")
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


def segments(line):
    """Splits a line at its SGR sequences: (column, text, style attributes)."""
    column, style = 0, ""
    for index, part in enumerate(re.split(r"\x1b\[([0-9;]*)m", line)):
        if index % 2 == 1:
            codes = [code.lstrip("0") for code in part.split(";")]
            fills = [f' fill="{COLORS[code]}"' for code in codes if code in COLORS]
            style = "".join(fills[-1:]) + (' font-weight="bold"' if "1" in codes else "")
        elif part:
            # Blanks need no text, and columns must not depend on the font.
            for word in re.finditer(r"\S+(?: \S+)*", part):
                yield column + word.start(), word.group(), style
            column += len(part)


def text_of(row, seconds, parts):
    y = MARGIN + (row + 1) * LINE_HEIGHT
    yield f'<g style="animation-delay:{seconds:.2f}s">'
    for column, text, style in parts:
        x, width = MARGIN + column * CHARACTER_WIDTH, len(text) * CHARACTER_WIDTH
        yield f'<text x="{x:g}" y="{y}" textLength="{width:g}" lengthAdjust="spacingAndGlyphs"{style}>{escape(text)}</text>'
    yield "</g>"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = os.path.abspath(sys.argv[1])
    body, row, seconds = [], 0, 0.3
    with tempfile.TemporaryDirectory() as ledger:
        for command in COMMANDS:
            shown = [(0, "$", f' fill="{PROMPT}"'), (2, "apm2-ledger " + command, ' font-weight="bold"')]
            body += text_of(row, seconds, shown)
            row += 1
            seconds += TYPING_SECONDS
            for pause, line in record(program, ledger, shlex.split(command)):
                seconds += pause
                body += text_of(row, seconds, segments(line))
                row += 1
            row += 1
            seconds += 1
        record(program, ledger, ["daemon", "--stop"])
    width, height = COLUMNS * CHARACTER_WIDTH + 2 * MARGIN, row * LINE_HEIGHT + 2 * MARGIN
    print(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" width="{width:g}" height="{height}"'
        ' role="img" aria-label="A terminal: apm2-ledger run, list and show">\n'
        f"<style>text{{font:{FONT_SIZE}px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre}}"
        "g{animation:appear .01s step-end both}@keyframes appear{from{visibility:hidden}}"
        "@media(prefers-reduced-motion:reduce){g{animation:none}}</style>\n"
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}" stroke="#8b949e"/>\n'
        f'<g fill="{FOREGROUND}" style="animation:none">\n' + "\n".join(body) + "\n</g>\n</svg>"
    )


if __name__ == "__main__":
    main()
