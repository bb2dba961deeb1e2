"""What happens to a run and to its inputs: kills, full disks, damage between two starts, hostile files."""
