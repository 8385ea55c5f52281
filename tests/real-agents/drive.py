"""Puts one agent through the scenarios, inside the namespaces that `run` makes. Prints one JSON object for each."""

import argparse
import json
import shutil
import traceback

from agents import AGENTS
from place import Place, TimedOut
from scenarios import LONG_SCENARIOS, SCENARIOS, Failed


def verdict(finished):
    return " ".join(dict.fromkeys(filter(None, (finished["outcome"], finished["class"]))))


def decision(event):
    """What the restart policy decided with this event, in words; `None` for other events."""
    if event["type"] == "restart_scheduled":
        return f"restart after {event['delay_ms'] / 1000:.0f} s"
    if event["type"] == "restart_refused":
        return f"no restart ({event['rule']})"
    if event.get("event") == "session_chosen" and event["session_reason"] != "first":
        return "session resumed" if event["resumed"] else f"new session ({event['session_reason']})"
    return None


def story(events):
    """The reports of the agent, its verdicts and the decisions of the restart policy, in the order of the record."""
    reports = [event for event in events if event["type"] == "agent"]
    return {
        "reports": [event["event"] for event in reports if event["event"] != "session_chosen"],
        "verdicts": [verdict(event) for event in reports if event["event"] == "finished"],
        "policy": list(filter(None, map(decision, events))),
    }


def attempt(action):
    """What went wrong, or `None`."""
    try:
        action()
    except (Failed, TimedOut, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return traceback.format_exc()
    return None


def play(program, agent, scenario):
    row = {"agent": agent.kind, "scenario": scenario}
    place = Place(program, agent, scenario)

    def look():
        row.update(story(place.events()))
        row["strays"] = place.strays()
        row["canaries"] = place.leaked()

    failures = [attempt(lambda: (SCENARIOS | LONG_SCENARIOS)[scenario](place)), attempt(place.stop), attempt(look)]
    row["failures"] = [failure for failure in failures if failure]
    place.stub.close()
    if is_good(row):
        shutil.rmtree(place.directory)
    else:
        row["directory"] = place.directory
    return row


def is_good(row):
    return not (row["failures"] or row["strays"] or row["canaries"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("modules")
    parser.add_argument("kind", choices=AGENTS)
    parser.add_argument("scenarios", nargs="*")
    args = parser.parse_args()
    agent = AGENTS[args.kind](args.modules)
    for scenario in args.scenarios or SCENARIOS:
        print(json.dumps(play(args.program, agent, scenario)), flush=True)


if __name__ == "__main__":
    main()
