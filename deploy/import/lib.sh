# lib.sh - sourced by the load scripts: the server program, the arguments, and
# additions that may have been made by an earlier run.
set -eu

usage() {
	echo "usage: $0 SERVER_DIR DATA_FOLDER" >&2
	echo "SATCHEL_SERVER names the program when it is not on the path." >&2
	exit 2
}
[ $# -ge 2 ] || usage
dir=$1
data=$2
maps=$(cd "$(dirname "$0")" && pwd)
server=${SATCHEL_SERVER:-satchel-server}
[ -d "$data" ] || { echo "$0: there is no folder $data" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# add territory|user OPTIONS: one that is there already is fine.
add() {
	what=$1
	shift
	if ! "$server" "$what" add --dir "$dir" "$@" >"$work/out" 2>&1; then
		grep -q "already" "$work/out" || { cat "$work/out" >&2; exit 1; }
	fi
}

# load MAP FILE: import; a refused line ends the load, the reject file stays.
load() {
	echo "$(basename "$2") -> $1"
	"$server" import --dir "$dir" --map "$maps/$1.json" \
		--reject "$dir/$1.reject.csv" "$2"
}

# A name as a login: lower case, spaces to dots.
login_of() { printf '%s' "$1" | tr 'A-Z ' 'a-z.'; }
