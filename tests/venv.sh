#!/bin/sh
# venv.sh: print the folder of the virtual environment with the test tools, making it first where it is not there.
# It lies in the cache outside the checkout, named after what it is made of.
set -eu

here=$(dirname "$0")
cache=${GUARDIAN_TEST_CACHE:-/var/cache/guardian-tests}
python=${PYTHON:-python3}

"$here/need.sh" "$python=python3" python3-venv=python3-venv >&2
identity=$("$python" -c 'import sys; print(sys.version, sys.base_prefix)')
recipe=$({ echo "$identity"; cat "$here/requirements.txt"; } | sha256sum | cut -c1-12)
venv=$cache/venv-$recipe

if [ ! -e "$venv/ready" ]; then
	mkdir -p "$cache/locks"
	exec 9>"$cache/locks/venv"
	flock 9
fi
if [ ! -e "$venv/ready" ]; then
	rm -rf "$venv"
	"$python" -m venv "$venv" >&2
	"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
	touch "$venv/ready"
fi
echo "$venv"
