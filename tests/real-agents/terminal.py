"""A program on a terminal of its own, and whether it shows a text."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

ROWS, COLUMNS = 60, 160
# What a program asks its terminal, and the answers: the place of the cursor, what it is, its background.
QUESTIONS = {
    b"\x1b[6n": b"\x1b[1;1R",
    b"\x1b[c": b"\x1b[?62c",
    b"\x1b]11;?": b"\x1b]11;rgb:0000/0000/0000\x1b\\",
}


def shows(command, directory, environment, text, seconds):
    """Whether the program shows the text within this time. It is killed then."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(directory)
        os.execvpe(command[0], command, {**environment, "TERM": "xterm-256color"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    try:
        return is_read(terminal, text.encode(), time.monotonic() + seconds)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def is_read(terminal, text, end):
    shown = b""
    while text not in shown and time.monotonic() < end:
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # The program has ended.
            break
        for question, answer in QUESTIONS.items():
            if question in piece:
                os.write(terminal, answer)
        shown += piece
    return text in shown
