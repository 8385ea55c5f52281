"""What each agent is put through, and what has to be on record then."""

import json
import os
import signal
from datetime import datetime

import canaries
import terminal
from place import NAME, wait_until

# In this tool call the agent is ended.
HANGING = "tail -f /dev/null & "
STALL_SECONDS_MAX = 420


class Failed(Exception):
    """What is on record is not what has to be."""


def expect(what, is_so):
    if not is_so:
        raise Failed(what)


def expect_end(place, outcome, agent_class=None):
    handle = place.wait_for_end()
    agent = handle["agent"]
    found = (agent["outcome"], agent["class"])
    expect(f"{outcome} {agent_class}, not {found}", found == (outcome, agent_class))
    return handle


def answers(place):
    place.up()
    handle = expect_end(place, "success")
    expect("stopped", handle["state"] == "stopped")
    expect("1000 tokens of input or, with both caches, 1500", handle["agent"]["input_tokens"] in (1000, 1500))
    expect("40 tokens of output", handle["agent"]["output_tokens"] == 40)


def calls_a_tool(place):
    place.stub.plays = "tool"
    place.up()
    expect_end(place, "success")
    ended = place.events("agent", "tool_ended")
    found = [(event["tool"], event["ok"]) for event in ended]
    expect(f"one call of {place.agent.shell}, not {found}", found == [(place.agent.shell, True)])
    expect("the result of the tool in the last request", canaries.CANARIES["result"] in place.stub.requests[-1])
    # The search for canaries proves something only where the agent prints them.
    printed = place.run("logs", NAME)
    missing = [name for name in ("answer", "argument", "result") if canaries.CANARIES[name] not in printed]
    expect(f"contents in the log, not without {missing}", not missing)


def leaves_a_process(place):
    place.stub.command = canaries.command("setsid sleep 4000 >/dev/null 2>&1 & ")
    place.stub.plays = "tool"
    place.up()
    expect_end(place, "success")


def key_is_refused(place):
    place.stub.plays = "unauthorized"
    place.up()
    expect_end(place, "failure", "auth")
    refused = place.events("restart_refused")
    expect("one refusal", [event["rule"] for event in refused] == ["agent_failed"])


def limit_is_reached_at_once(place):
    place.stub.begin_limit()
    place.up()
    expect_wait(place)
    place.stub.plays = "tool"
    expect_end(place, "success")
    expect_patience(place)
    if place.agent.keeps_session_without_an_answer:
        expect_goes_on(place)
    else:
        reasons = [event["session_reason"] for event in place.events("agent", "session_chosen")]
        expect(f"a new session, not {reasons}", reasons == ["first", "resume", "resume_invalid"])


def limit_is_reached_later_and_the_daemon_killed(place):
    place.stub.begin_limit("tool, limit")
    place.up()
    expect_wait(place)
    place.stub.plays = "tool"
    place.kill_daemon()
    place.start_daemon()
    expect_end(place, "success")
    expect_patience(place)
    expect_goes_on(place)


def expect_wait(place):
    place.wait_for_event("restart_scheduled")
    handle = place.handle()
    agent = handle["agent"]
    expect("the class rate_limit", (agent["outcome"], agent["class"]) == ("failure", "rate_limit"))
    expect("a reset time" if place.agent.reports_reset else "no reset time",
           bool(agent["resets_at"]) == place.agent.reports_reset)
    words = "waits for its usage limit until"
    expect(f"`{words}` in list", words in place.run("list"))
    expect("the usage limit in why", "usage limit" in place.run("why", NAME))


def expect_patience(place):
    """The second run began when the limit was reset, and not before. The restart budget has what it had."""
    if place.agent.reports_reset:
        second = [datetime.fromisoformat(event["at"]) for event in place.events("start_requested")][1]
        early = place.stub.resets_at - second.timestamp()
        expect(f"a start after the reset, not {early:.0f} s before", early <= 0)
    cost = place.json("cost")
    expect(f"the tokens of all runs in cost, not {cost}", str(place.handle()["agent"]["input_tokens"]) in json.dumps(cost))


def stream_stalls(place):
    """A silence that is no failure: it is recorded, and the agent sends its request again by itself after 300 s."""
    place.stub.plays = "stall"
    place.up()
    place.wait_for_event("agent", "stalled")
    phases = [event["phase"] for event in place.events("agent", "stalled")]
    expect(f"one silence, in the phase model, not {phases}", phases == ["model"])
    handle = place.handle()
    expect("running, and no end on record", handle["state"] == "running" and handle["agent"]["outcome"] is None)
    place.run("stop", NAME)
    expect_end(place, "aborted", "aborted")


def stall_ends_by_itself(place):
    """The agent gives the request up after 300 s and sends it again: neither the record nor the policy takes that for an end."""
    place.stub.plays = "stall"
    place.up()
    wait_until("a request", lambda: place.stub.requests)
    place.stub.plays = "answer"
    wait_until("a second request", lambda: len(place.stub.requests) > 1, seconds=STALL_SECONDS_MAX)
    expect_end(place, "success")


def is_stopped(place):
    begin_hanging(place)
    place.run("stop", NAME)
    handle = expect_end(place, "aborted", "aborted")
    expect("no SIGKILL was needed", handle["state"] == "stopped")


def is_killed(place):
    begin_hanging(place)
    place.stub.plays = "answer"
    os.kill(place.handle()["pid"], signal.SIGKILL)
    expect_end(place, "success")
    aborted = [event["outcome"] for event in place.events("agent", "finished")]
    expect(f"aborted, then success, not {aborted}", aborted == ["aborted", "success"])
    expect_goes_on(place)


def begin_hanging(place):
    place.stub.command = canaries.command(HANGING) + "; wait"
    place.stub.plays = "tool"
    place.up()
    place.wait_for_event("agent", "tool_started")
    wait_until("the process of the tool", lambda: place.tool_runs())


def expect_goes_on(place):
    """The latest run went on with the session of the first, and its request has the conversation before it."""
    chosen = place.events("agent", "session_chosen")
    expect("a resumed session", chosen[-1]["resumed"])
    sessions = {event["session_id"] for event in place.events("agent", "session_started")}
    expect(f"one session, not {sessions}", len(sessions) == 1)
    expect("the prompt of both runs in the last request", place.stub.requests[-1].count(canaries.CANARIES["prompt"]) >= 2)


def is_resumed_by_hand(place):
    """The command that `sessions` prints shows the conversation on a terminal."""
    answers(place)
    words = place.json("sessions")[0]["resume"]
    # What it starts beside itself ends with its pid namespace.
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *place.agent.program, *words[1:]]
    place.agent.prepare_for_a_person(place)
    environment = {**place.environment(), **place.variables, place.agent.key_variable: canaries.CANARIES["key"]}
    expect(f"the answer, shown by {words[:-1]}",
           terminal.shows(command, place.work, environment, canaries.CANARIES["answer"], seconds=60))


SCENARIOS = {
    "success": answers,
    "tool call": calls_a_tool,
    "tool leaves a process": leaves_a_process,
    "key refused (401)": key_is_refused,
    "limit at once (429)": limit_is_reached_at_once,
    "limit after a tool, daemon killed": limit_is_reached_later_and_the_daemon_killed,
    "stream stalls": stream_stalls,
    "TERM in a tool": is_stopped,
    "KILL in a tool": is_killed,
    "resumed by hand": is_resumed_by_hand,
}
# Only where they are named: each takes five minutes.
LONG_SCENARIOS = {"stall ends by itself": stall_ends_by_itself}
