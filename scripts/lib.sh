# Sourced by every script here: where things are, and how PostgreSQL is run as somebody who is not root.
# PostgreSQL refuses to run as root, so root's server processes belong to the user postgres, whose package made it.

set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# A busy machine is no reason to fail.
export LC_ALL=C.UTF-8 PGCONNECT_TIMEOUT=60 PGCTLTIMEOUT=180
# Without sbin, as after a plain `su`, dpkg refuses to work.
export PATH=$PATH:/usr/sbin:/sbin
unset PGHOST PGPORT PGUSER PGDATABASE PGDATA PGOPTIONS PGSERVICE PGPASSWORD

if [ "$(id -u)" = 0 ]; then server_user=postgres; else server_user=$(id -un); fi

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

as_server_user() {
	if [ "$(id -u)" = 0 ]; then
		runuser -u "$server_user" -- env HOME=/tmp USER="$server_user" "$@"
	else
		"$@"
	fi
}

# A new folder below /tmp (socket paths must stay short) that belongs to the server's user.
server_folder() {
	local folder
	folder=$(mktemp -d "/tmp/plank-$1.XXXXXX")
	[ "$(id -u)" != 0 ] || chown "$server_user:" "$folder"
	chmod 755 "$folder"
	printf '%s\n' "$folder"
}

# A TCP port on the loopback address that nobody listens on.
port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_port() {
	local port
	while port=$((20000 + RANDOM % 12000)) && port_taken "$port"; do :; done
	printf '%s\n' "$port"
}

# Stops every server whose data directory lies below the folder, then removes the folder.
remove_server_folder() {
	local pid_file pid
	[ -d "$1" ] || return 0
	# timeout(1) sends its signal twice, and whoever reads the output may be gone: nothing ends this half-way.
	trap '' INT TERM HUP PIPE
	while IFS= read -r pid_file; do
		pid=$(head -n 1 "$pid_file" 2>/dev/null) || continue
		kill -INT "$pid" 2>/dev/null || continue
		for _ in $(seq 600); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
		kill -QUIT "$pid" 2>/dev/null || true
		for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
	done < <(find "$1" -name postmaster.pid 2>/dev/null)
	# What was stopped with it may still be writing there.
	for _ in $(seq 100); do rm -rf "$1" 2>/dev/null && break; sleep 0.1; done
}

# The PostgreSQL to build with and to test: the one of PG_CONFIG, of PG_VERSION (17, or longer as 17.2), or the first of
# these that is installed with its files for building.
pg_versions=(15 18 17 16)
pg_config_of() { printf '/usr/lib/postgresql/%s/bin/pg_config\n' "$1"; }
pg_config_path() {
	local version
	if [ -n "${PG_CONFIG:-}" ]; then printf '%s\n' "$PG_CONFIG"; return; fi
	if [ -n "${PG_VERSION:-}" ]; then pg_config_of "${PG_VERSION%%.*}"; return; fi
	for version in "${pg_versions[@]}"; do
		[ ! -x "$(pg_config_of "$version")" ] || { pg_config_of "$version"; return; }
	done
	printf '%s\n' pg_config
}
