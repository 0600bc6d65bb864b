"""Side by side with what a user would pick instead. See docs/benchmarks.md for how to run them and what they showed."""
