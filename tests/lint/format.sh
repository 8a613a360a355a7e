#!/bin/sh
# usage: format.sh ROOT; complains of every source that clang-format would change.
set -eu
cd "$1"
find base wal api coordinator participant cli tests -name '*.[ch]' -print0 2>/dev/null |
    xargs -0 -r clang-format --dry-run --Werror
