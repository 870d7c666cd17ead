#!/bin/sh
# npb.sh [DIRECTORY]    NPB3.3-MPI.tar.bz2, a tree as that of NPB with ../lu in it, into DIRECTORY
# config/suite.def says what `make suite` builds: bin/lu.CLASS.RANKS, one program a line.
set -eu
from=$(cd "$(dirname "$0")/../lu" && pwd)
to=$(cd "${1:-.}" && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
make -s -C "$from" tarball BUILD="$build" TARBALL="$to/NPB3.3-MPI.tar.bz2"
echo "$to/NPB3.3-MPI.tar.bz2"
