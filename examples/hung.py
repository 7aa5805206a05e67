"""A program that hangs, to find out why with `guardianctl inspect` (docs/inspect.md says how to look).

docker run -d --name hung -v $PWD/examples/hung.py:/hung.py:ro IMAGE-WITH-PYTHON python3 /hung.py
"""

import subprocess
import sys

REPORT = "import sys; sys.stdout.write('a line of the report\\n' * 10000)"


def main() -> None:
    """Make a report in a process of its own, wait until it is done, then read it."""
    reporter = subprocess.Popen([sys.executable, "-c", REPORT], stdout=subprocess.PIPE)
    reporter.wait()
    assert reporter.stdout is not None
    print(len(reporter.stdout.read()), "bytes")


main()
