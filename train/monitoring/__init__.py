"""What a training shows: metrics, time, pictures, trackers."""
