#!/bin/sh
# pycriu.sh: print a folder that holds pycriu, for PYTHONPATH. It is Debian's python3-pycriu, which is not on PyPI:
# of the newest suite that the test hosts have, fetched once into the cache, from the mirror that they are made of.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${GUARDIAN_TEST_CACHE:-/var/cache/guardian-tests}
target=$cache/pycriu

if [ ! -e "$target/ready" ]; then
	"$here/need.sh" dpkg-deb=dpkg >&2
	mkdir -p "$cache/locks"
	exec 9>"$cache/locks/pycriu"
	flock 9
fi
if [ ! -e "$target/ready" ]; then
	mirror=$(cd "$here/.." && "$("$here/venv.sh")/bin/python" -c 'from tests.machines import cache; print(cache.mirror())')
	rm -rf "$target"
	mkdir -p "$target/lists/partial" "$target/archives/partial"
	chmod 755 "$target"
	for suite in forky trixie; do
		echo "deb $mirror $suite main" >"$target/sources.list"
		# A state of its own: this machine's apt never hears of the suite. A stored index may be past its date.
		cat >"$target/apt.conf" <<-END
			Dir::Etc::SourceList "$target/sources.list";
			Dir::Etc::SourceParts "-";
			Dir::State::Lists "$target/lists";
			Dir::Cache "$target";
			APT::Sandbox::User "root";
			Acquire::Languages "none";
			Acquire::Check-Valid-Until "false";
		END
		if APT_CONFIG=$target/apt.conf apt-get -qq update >&2 &&
			(cd "$target/archives" && APT_CONFIG=$target/apt.conf apt-get -qq download python3-pycriu >&2); then
			break
		fi
	done
	dpkg-deb -x "$target"/archives/python3-pycriu_*.deb "$target/root"
	rm -rf "$target/lists" "$target/archives" "$target"/*.bin
	touch "$target/ready"
fi
echo "$target/root/usr/lib/python3/dist-packages"
