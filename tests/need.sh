#!/bin/sh
# need.sh COMMAND="PACKAGE..."...: see to it that each command (or file, by its path) is here, by installing its Debian packages.
# Takes the same lock as tests/machines/cache.py, since two apt at once fail.
set -eu

cache=${GUARDIAN_TEST_CACHE:-/var/cache/guardian-tests}

absent() {
	case $1 in
	python3-venv) ! "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null ;;
	/*) ! [ -e "$1" ] ;;
	*) ! command -v "$1" >/dev/null ;;
	esac
}

packages() {
	for pair; do
		if absent "${pair%%=*}"; then echo "${pair#*=}"; fi
	done
}

[ -n "$(packages "$@")" ] || exit 0
mkdir -p "$cache/locks"
exec 9>"$cache/locks/apt"
flock 9
missing=$(packages "$@")
[ -n "$missing" ] || exit 0
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
apt-get update -qq
# shellcheck disable=SC2086 # several packages
apt-get install --yes -qq --no-install-recommends $missing
