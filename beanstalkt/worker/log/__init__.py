"""What a runner writes about itself: lines, the progress of a burst, notes to systemd."""
