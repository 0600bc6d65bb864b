"""What a person sees of a job: the plan before a run, progress during it, the summary after it."""
