# lib.sh - sourced by the load scripts: the server program, the arguments, and
# additions that may have been made by an earlier run.
set -eu

usage() {
	echo "usage: $0 SERVER_DIR DATA_FOLDER" >&2
	echo "DATA_FOLDER is the data set's own folder, or the one that holds it." >&2
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

# data_set NAME FILE: the folder of that data set: DATA_FOLDER itself, a folder
# of that name in it, or one beside it.
data_set() {
	for folder in "$data" "$data/$1" "$data/../$1"; do
		if [ -f "$folder/$2" ]; then
			printf '%s\n' "$folder"
			return 0
		fi
	done
	echo "$0: neither $data nor $data/$1 holds $2" >&2
	return 1
}

# add territory|user OPTIONS: one that is there already is fine. Asked in
# English, because the answer is read here; told in the person's language.
add() {
	what=$1
	shift
	if ! LC_ALL=C "$server" "$what" add --dir "$dir" "$@" \
		>"$work/out" 2>&1; then
		grep -q "already" "$work/out" ||
			"$server" "$what" add --dir "$dir" "$@" || exit 1
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
