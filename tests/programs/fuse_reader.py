"""fuse_reader.py FILE: reads a file that it keeps open, again and again, and says its token and what it read."""

import os
import secrets
import sys
import time

TOKEN = secrets.token_hex(4)
descriptor = os.open(sys.argv[1], os.O_RDONLY)
while True:
    try:
        print(TOKEN, os.pread(descriptor, 16, 0).decode().strip(), flush=True)
    except OSError as error:
        print(TOKEN, error, flush=True)
    time.sleep(0.1)
