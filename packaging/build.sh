#!/bin/sh
# Builds docker-guardian_VERSION_amd64.deb into the folder given, from a copy: the checkout stays as it is.
# Usage: packaging/build.sh FOLDER
set -eu

out=${1:?usage: packaging/build.sh FOLDER}
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/source"
cd "$here"
cp -a guardian units etc packaging docs README.md "$work/source/"
find "$work/source" -name __pycache__ -prune -exec rm -rf '{}' +
mv "$work/source/packaging/debian" "$work/source/debian"
cd "$work/source"
if ! dpkg-buildpackage --build=binary --unsigned-source --unsigned-changes >"$work/log" 2>&1; then
    cat "$work/log" >&2
    exit 1
fi
mv "$work"/*.deb "$out/"
ls "$out"/*.deb
