"""Many trainings that differ in their numbers, as one program."""
