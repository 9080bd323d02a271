# Sourced by the scripts beside it: go to the root of the repository, and speak in one voice.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
setup=var/setup
mkdir -p "$setup"

say() { printf 'hubbub: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# unreachable LOG: does this log of pip, npm or apt read as if there were no network?
unreachable() {
    grep -qiE 'temporary failure|could not resolve|connection refused|network is unreachable|timed? ?out|proxyerror|cannot connect to proxy|no route to host|newconnectionerror|econnrefused|enotfound|eai_again|etimedout|no matching distribution|could not connect' "$1"
}
