"""Runs Autobahn's fuzzing client against two echo servers and judges what it says. Python 2.7, called by `run`."""

import json
import os
import shutil
import subprocess
import sys

USUAL, SMALLEST = "window-15", "window-9"

# Offers with a window of 2^9 bytes: the usual server has to decline them, the smallest has to accept them.
LIMITED = ["13.3.*", "13.5.*"]

# Messages of 64 KiB and more, a thousand each: most of the time and, but for their size, nothing new.
LARGE = ["%d.*.%d" % (group, case) for group in (12, 13) for case in (9, 10, 15, 16, 17, 18)]

CASES = ["%d.*" % group for group in (1, 2, 3, 4, 5, 6, 7, 9, 10, 12, 13)]
PLAIN_CASES = 301
DEFLATE_GROUPS = 12
CASES_OF_GROUP = 18
LARGE_OF_GROUP = 6

WSTEST = """
import site, sys
site.addsitedir(sys.argv.pop(1))
from autobahntestsuite.wstest import run
run()
"""


def spec(reports, usual_url, smallest_url, large):
    plain_and_usual = [case for case in CASES if case != "13.*"]
    plain_and_usual += ["13.%d.*" % group for group in (1, 2, 4, 6, 7)]
    return {
        "outdir": reports,
        "servers": [{"agent": USUAL, "url": usual_url}, {"agent": SMALLEST, "url": smallest_url}],
        "cases": CASES,
        "exclude-cases": [] if large else LARGE,
        "exclude-agent-cases": {SMALLEST: plain_and_usual},
    }


def expected(agent, case):
    limited = any(case.startswith(pattern[:-1]) for pattern in LIMITED)
    return ["UNIMPLEMENTED"] if agent == USUAL and limited else ["OK", "INFORMATIONAL"]


def judge(reports, large):
    with open(os.path.join(reports, "index.json")) as index:
        agents = json.load(index)
    of_group = CASES_OF_GROUP - (0 if large else LARGE_OF_GROUP)
    counts = {USUAL: PLAIN_CASES + DEFLATE_GROUPS * of_group, SMALLEST: len(LIMITED) * of_group}
    tally, flaws = {}, []
    for agent, count in sorted(counts.items()):
        cases = agents.get(agent, {})
        if len(cases) != count:
            flaws.append("%s: %d cases were run, not %d" % (agent, len(cases), count))
        for case, verdict in cases.items():
            behavior, close = verdict["behavior"], verdict["behaviorClose"]
            tally[behavior] = tally.get(behavior, 0) + 1
            if behavior not in expected(agent, case) or close not in ["OK", "INFORMATIONAL"]:
                flaws.append("%s: case %s is %s, its close %s" % (agent, case, behavior, close))
    return tally, flaws


def main(packages, reports, usual_url, smallest_url):
    large = os.environ.get("AUTOBAHN_ALL") == "1"
    # Reports of an earlier run must not be taken for those of this one.
    shutil.rmtree(reports, ignore_errors=True)
    os.makedirs(reports)
    spec_path = os.path.join(reports, "spec.json")
    with open(spec_path, "w") as out:
        json.dump(spec(reports, usual_url, smallest_url, large), out)
    with open(os.path.join(reports, "wstest.log"), "w") as log:
        command = [sys.executable, "-c", WSTEST, packages, "-m", "fuzzingclient", "-s", spec_path]
        subprocess.check_call(command, stdout=log, stderr=subprocess.STDOUT, cwd=reports)
    tally, flaws = judge(reports, large)
    for flaw in sorted(flaws):
        print("autobahn: " + flaw)
    summary = ", ".join("%d %s" % (count, behavior) for behavior, count in sorted(tally.items()))
    scope = "all cases" if large else "without the messages of 64 KiB and more of 12.* and 13.*"
    print("autobahn: %s: %s (%s)" % ("FAILED" if flaws else "passed", summary, scope))
    return 1 if flaws else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
