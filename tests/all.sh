#!/bin/bash
# Everything there is to run, in turn; a table at the end, also in dist/test-all.md. Exit status 0 if all passed.
set -u
cd "$(dirname "$0")/.." || exit 1
mkdir -p dist
rows=''
failed=0

# part NAME COMMAND...: run it, keep its log, add a row.
part() {
	local name=$1 log verdict counts begun=$SECONDS
	shift
	log=dist/test-all-${name//[^a-z0-9]/-}.log
	echo "--- $name: $*"
	if "$@" >"$log" 2>&1; then verdict=passed; else
		verdict=FAILED
		failed=1
	fi
	counts=$(grep -oE '[0-9]+ (passed|failed|error)[^=]* in' "$log" | tail -n 1 | sed 's/ in$//')
	rows+="| $name | \`$*\` | $verdict | ${counts:--} | $((SECONDS - begun)) s |"$'\n'
	echo "    $verdict ${counts:-}"
}

part check make check
part unit make unit
part images make images
part 'host forky' make host
part 'host trixie' env HOST=trixie make host
part 'host containerd store' env STORE=containerd make host
part vm make test-vm
part upgrade make test-upgrade
part demo make demo
part 'demo trixie' env HOST=trixie make demo
part bench-runtime make bench-runtime
part bench-forensics make bench-forensics
part fuzz-images make fuzz-images
printf '| part | command | verdict | tests | time |\n|---|---|---|---|---|\n%s' "$rows" | tee dist/test-all.md
exit $failed
