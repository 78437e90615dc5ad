"""A deterministic simulator of jobs on GPUs: in rounds, as Gavel and Shockwave run them, or from event to event."""
