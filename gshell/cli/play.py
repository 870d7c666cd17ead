VERBS: dict[str, object] = {}
