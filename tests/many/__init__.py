"""Many containers at once, and single ones that are large in another way than memory."""
