#!/bin/bash
# Everything there is to run; a table at the end, also in dist/test-all.md. Exit status 0 if all passed.
# The suites go in two lanes side by side (two cores, and they wait more than they work); what measures runs alone.
set -u
cd "$(dirname "$0")/.." || exit 1
rows=dist/test-all.rows
rm -rf "$rows"
mkdir -p "$rows"

# part NUMBER NAME COMMAND...: run it, keep its log, write its row; the number is its place in the table.
part() {
	local number=$1 name=$2 log verdict counts begun=$SECONDS
	shift 2
	log=dist/test-all-${name//[^a-z0-9]/-}.log
	echo "--- $name: $*"
	verdict=FAILED
	"$@" >"$log" 2>&1 && verdict=passed
	counts=$(grep -oE '[0-9]+ (passed|failed|error)[^=]* in' "$log" | tail -n 1 | sed 's/ in$//')
	echo "| $name | \`$*\` | $verdict | ${counts:--} | $((SECONDS - begun)) s |" >"$rows/$number"
	echo "    $name: $verdict ${counts:-}"
}

part 01 check make check
part 02 unit make unit
part 03 images make images
{
	part 04 'host forky' make host
	part 06 'host containerd store' env STORE=containerd make host
} &
{
	part 05 'host trixie' env HOST=trixie make host
	part 07 vm make test-vm
	part 08 upgrade make test-upgrade
	part 09 migrate make test-migrate
	part 17 power make test-power
} &
wait
part 18 faults env JOBS=3 make test-faults
part 19 races env JOBS=2 make test-races
part 20 many make test-many
part 10 demo make demo
part 11 'demo trixie' env HOST=trixie make demo
part 12 bench-runtime make bench-runtime
part 13 bench-forensics make bench-forensics
part 14 bench-migrate make bench-migrate
part 15 fuzz-images env ROUNDS=25000 make fuzz-images
part 16 fuzz-archives make fuzz-archives
part 21 fuzz make fuzz
part 22 bench-at-rest make bench-at-rest
{
	printf 'Commit %s, %s, %s cores.\n\n' "$(git rev-parse --short HEAD)" "$(date -u +%F)" "$(nproc)"
	printf '| part | command | verdict | tests | time |\n|---|---|---|---|---|\n'
	cat "$rows"/*
} | tee dist/test-all.md
! grep -q FAILED "$rows"/*
