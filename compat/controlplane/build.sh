#!/bin/sh
# build.sh [OUTPUT]: the whole control plane as one static binary; prints its path. Without OUTPUT
# it is kept in the cache of the user, under a key over its sources, and built only if it is not there.
set -e
cd "$(dirname "$0")"
export CGO_ENABLED=0
output=$1
if [ -z "$output" ]; then
  key=$(cat build.sh go.mod go.sum ./*.go | sha256sum | cut -c1-16)
  output=${XDG_CACHE_HOME:-$HOME/.cache}/k8s-relay/controlplane-$key
  if [ -x "$output" ]; then
    echo "$output"
    exit
  fi
fi
mkdir -p "$(dirname "$output")"
kube=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${kube#v1.} v=k8s.io/component-base/version
echo "building the control plane $kube: some minutes when nothing is cached" >&2
# Under another name first: what is cut short must not be taken for a binary.
go build -trimpath -buildvcs=false -o "$output.$$" \
  -ldflags "-s -w -X $v.gitVersion=$kube -X $v.gitMajor=1 -X $v.gitMinor=${minor%%.*} -X $v.gitTreeState=clean" .
mv "$output.$$" "$output"
echo "$output"
