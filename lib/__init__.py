"""What every room stands on: errors meant for people, whole-or-nothing files, progress bars."""
