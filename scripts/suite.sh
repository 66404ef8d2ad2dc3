# Sourced by every suite: counting, and the look into the server logs that ends each of them.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$top"
suite=$(basename "$0")
# So that the shell outlives what it runs, which may have servers to stop.
trap 'exit 143' TERM INT HUP

nothing() { say "$1"; exit 77; }

# The PostgreSQL to test: the runner's, or a fresh one when a suite is started by hand; with the test-only extension.
private_postgres() {
	[ -n "${PLANK_BINDIR:-}" ] || PLANK_BINDIR=$(scripts/private-postgres)
	export PLANK_BINDIR
	if [ -f test/module/Makefile ]; then
		${MAKE:-make} -s -j2 -C test/module all
		${MAKE:-make} -s -C test/module install DESTDIR="$(cat build/private-postgres.path)" >/dev/null
	fi
	export PATH="$PLANK_BINDIR:$PATH"
}

# A folder for servers, their sockets and logs; gone at the end, but for the logs of a failed suite.
work_folder() {
	work=$(server_folder "$suite")
	trap leave_work_folder EXIT
}
# The same for a suite without servers, whose programs leave their temporary files in it.
scratch_folder() {
	work_folder
	servers=no
	export TMPDIR=$work
}
leave_work_folder() {
	local status=$?
	trap - EXIT
	trap '' INT TERM HUP PIPE  # as remove_server_folder
	if [ "$status" != 0 ] && [ "$status" != 77 ]; then
		rm -rf "build/test/$suite"
		mkdir -p "build/test/$suite"
		(cd "$work" && find . \( -name '*.log' -o -name '*.diffs' -o -name 'regress_log_*' -o -path '*/results/*' \) -type f \
			-exec cp --parents -t "$top/build/test/$suite" {} +) 2>/dev/null || true
		say "Logs are in build/test/$suite" || true
	fi
	remove_server_folder "$work"
	exit "$status"
}

# Server logs below the folder in which a process died of a signal, but for tests that say they crash it on purpose.
crashed_logs() {
	local log test
	grep -rlE --include='*.log' --include='logfile*' 'terminated by signal' "$1" 2>/dev/null | while IFS= read -r log; do
		for test in test/t/*.pl; do
			case $(basename "$log") in "$(basename "$test" .pl)"_*)
				grep -q 'crashes the server on purpose' "$test" && continue 2 ;;
			esac
		done
		printf '%s\n' "$log"
	done || true
}

# finish PASSED FAILED: adds the server logs' check when the suite had servers, prints the count, exits.
finish() {
	local passed=$1 failed=$2 logs
	if [ -n "${work:-}" ] && [ "${servers:-yes}" = yes ]; then
		logs=$(crashed_logs "$work")
		if [ -n "$logs" ]; then
			failed=$((failed + 1))
			say 'A server process was terminated by a signal:'
			xargs -r grep -h 'terminated by signal' <<<"$logs" >&2
		else
			passed=$((passed + 1))
		fi
	fi
	printf '%s: %d passed, %d failed\n' "$suite" "$passed" "$failed"
	[ "$failed" = 0 ]
	exit
}

# Runs a foreign test program, shows its output and finishes with the counts that it printed: "N passed, N failed",
# the closing lines of node's runner, or GoogleTest's; a program that prints none counts as one test.
run_and_count() {
	local log status=0 passed failed line
	log=${work:-$top/build/test}/$suite.output
	mkdir -p "${log%/*}"
	"$@" 2>&1 | tee "$log" | sed -uE '/^ *(---|\.\.\.|duration_ms: .*|# Subtest: .*)$/d' || status=${PIPESTATUS[0]}
	line=$(grep -oE '[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1 || true)
	if [ -n "$line" ]; then
		read -r passed _ failed _ <<<"${line//,/}"
	elif grep -qE '^(#|ℹ) pass [0-9]+' "$log"; then
		passed=$(sed -nE 's/^(#|ℹ) pass ([0-9]+).*/\2/p' "$log" | awk '{n += $1} END {print n + 0}')
		failed=$(sed -nE 's/^(#|ℹ) (fail|cancelled) ([0-9]+).*/\3/p' "$log" | awk '{n += $1} END {print n + 0}')
	elif grep -qE '^\[==========\] .* ran' "$log"; then
		passed=$(sed -nE 's/^\[  PASSED  \] ([0-9]+) tests?.*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
		failed=$(grep -cE '^\[  FAILED  \] .* \([0-9]+ ms\)$' "$log" || true)
	else
		passed=$((status == 0)) failed=$((status != 0))
	fi
	[ -n "${work:-}" ] || rm -f "$log"
	if [ "$status" != 0 ] && [ "$failed" = 0 ]; then failed=1; fi
	finish "$passed" "$failed"
}
