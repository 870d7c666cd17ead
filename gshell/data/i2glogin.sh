#!/bin/sh
# The command of the int.eu.grid tutorial, as a verb of ours: `gshell glogin`, found beside this file.
case $0 in */*) exec "${0%/*}/gshell" glogin "$@" ;; *) exec ./gshell glogin "$@" ;; esac
