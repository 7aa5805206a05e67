#!/bin/sh
# atheris.sh: print a folder that holds atheris, for PYTHONPATH; nothing where there is none for this Python: the
# campaign then mutates without looking at what its inputs reach. It is kept out of the venv, which must not need it.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${GUARDIAN_TEST_CACHE:-/var/cache/guardian-tests}
venv=$("$here/../venv.sh")
target=$cache/atheris-$(basename "$venv")

if [ ! -e "$target/ready" ]; then
	mkdir -p "$cache/locks"
	exec 9>"$cache/locks/atheris"
	flock 9
fi
if [ ! -e "$target/ready" ]; then
	rm -rf "$target"
	if ! "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$target" 'atheris>=3,<4' >&2; then
		echo 'atheris.sh: there is no atheris for this Python' >&2
		exit 0
	fi
	touch "$target/ready"
fi
echo "$target"
