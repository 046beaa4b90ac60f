"""System of record: users, cloud accounts, instances, images, events and runs."""
