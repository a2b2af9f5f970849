# packages.sh - sourced by deploy/quickstart and tests/run: what Debian 12
# packages are needed, and installing those that are missing.

SATCHEL_BUILD_PACKAGES="gcc libc6-dev cmake ninja-build pkg-config libuv1-dev
libsqlite3-dev libmsgpack-dev libssl-dev libzstd-dev libjansson-dev
libxxhash-dev libcsv-dev"
SATCHEL_TEST_PACKAGES="$SATCHEL_BUILD_PACKAGES libcmocka-dev sqlite3 python3
clang libclang-rt-14-dev gcovr zstd openssl procps
python3-msgpack python3-zstandard python3-xxhash"

# Print those of the packages that are not installed.
missing_packages() {
	for p in "$@"; do
		state=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)
		[ "$state" = installed ] || printf '%s ' "$p"
	done
}

# Install what is missing of the packages; without root or sudo print the one
# line that does it and exit 2.
need_packages() {
	missing=$(missing_packages "$@")
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" -eq 0 ]; then
		as_root=
	elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
		as_root="sudo"
	else
		echo "These packages are missing. Install them, then run this again:" >&2
		echo "  apt-get update && apt-get install -y --no-install-recommends $missing" >&2
		exit 2
	fi
	echo "installing: $missing"
	log=$(mktemp)
	if ! { $as_root apt-get update -q &&
	       DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -q \
		--no-install-recommends $missing; } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		echo "apt-get failed (log: $log). The line was:" >&2
		echo "  apt-get install -y --no-install-recommends $missing" >&2
		exit 2
	fi
	rm -f "$log"
}
