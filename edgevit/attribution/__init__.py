"""Where a network looks: its own maps (attention, gates) or occlusion, as pictures."""
