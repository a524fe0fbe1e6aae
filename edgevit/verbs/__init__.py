"""The verbs: a file each, one readable function over the rooms below."""
