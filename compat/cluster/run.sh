#!/bin/sh
# run.sh [FLAG…]: builds what the end-to-end suite needs and runs it; see README.md.
# RELAY, if it is set, is the k8s-relay binary to run it with.
set -e
cd "$(dirname "$0")/../.."
export CGO_ENABLED=0 GOFLAGS=-trimpath

command -v go >/dev/null || {
  echo "run.sh: go is missing" >&2
  exit 1
}
plane=$(compat/controlplane/build.sh)
out=$PWD/target/cluster
rm -rf "$out/logs"
mkdir -p "$out"
for program in watcher cluster; do
  (cd "compat/$program" && go build -buildvcs=false -o "$out/$program" .)
done
if [ -z "$RELAY" ]; then
  cargo build --locked --bin k8s-relay
  RELAY=${CARGO_TARGET_DIR:-target}/debug/k8s-relay
fi
exec "$out/cluster" -relay "$RELAY" -watcher "$out/watcher" -plane "$plane" -dir "$out/logs" "$@"
