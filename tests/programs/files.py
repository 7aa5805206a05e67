"""files.py PATH...: keeps a file open in each folder and one whose name is gone, and goes on writing to all of them.

Every 0.1 s a line of JSON goes to stdout: `n` in memory, what is wrong with what the files hold, and a token that only
this process knows.
"""

import json
import secrets
import sys
import time
from pathlib import Path


def main() -> None:
    """Open, unlink half of them, then write and read for ever."""
    files = {}
    for folder in sys.argv[1:]:
        for name in ("kept", "gone"):
            files[folder, name] = Path(folder, f"file-{name}").open("w+")  # noqa: SIM115
        Path(folder, "file-gone").unlink()
    n, token = 0, secrets.token_hex(8)
    while True:
        n += 1
        wrong = []
        for (folder, name), file in files.items():
            file.seek(0)
            if n > 1 and file.read() != str(n - 1):
                wrong.append(f"{folder} {name}")
            file.seek(0)
            file.truncate()
            file.write(str(n))
            file.flush()
        print(json.dumps({"n": n, "wrong": wrong, "token": token}), flush=True)
        time.sleep(0.1)


main()
