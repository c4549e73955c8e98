"""A made-up driving world and the files a benchmark would publish of it: things, world, sensors, writers, run."""
