"""What the verbs do: a file each, one readable function over the rooms below."""
