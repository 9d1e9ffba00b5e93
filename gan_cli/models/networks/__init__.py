"""The networks by name: generators and discriminators of samples."""
