"""Tables of commands, a module each family. Knows not what they do."""
