"""One file for each family of published figures; each draws jobs from its own seeded dice."""
