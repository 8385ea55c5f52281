"""Unique strings in each place where an agent has contents, and the search for them in a ledger."""

import os
import secrets

PLACES = ("prompt", "answer", "reasoning", "argument", "result", "error", "key")
# Ordinary words: a string that the secret filter masked would not be found where it was recorded.
CANARIES = {place: f"{place}-of-the-{secrets.token_hex(8)}-canary" for place in PLACES}


def found(ledger, export):
    """The places whose string is in a file of the ledger, its logs left out, or in the exported events.

    The files hold compressed blocks, in which no string is found; the export has their events in clear.
    """
    places = {place for place, canary in CANARIES.items() if canary in export}
    for directory, subdirectories, names in os.walk(ledger):
        if directory == ledger:
            subdirectories.remove("logs")
        for name in names:
            path = os.path.join(directory, name)
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    content = file.read()
                places |= {place for place, canary in CANARIES.items() if canary.encode() in content}
    return sorted(places)


def result_file(directory):
    """Writes the file that the tool prints: its text is in no argument."""
    with open(os.path.join(directory, "result.txt"), "w") as file:
        file.write(CANARIES["result"] + "\n")


def command(more=""):
    """The shell command that a stub asks for."""
    return f": {CANARIES['argument']}; {more}cat result.txt"
