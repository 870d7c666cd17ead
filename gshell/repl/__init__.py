"""The prompt: `gshell` alone on a terminal, and scripts of the lines that are typed there."""
