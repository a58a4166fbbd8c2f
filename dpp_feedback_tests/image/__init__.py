"""The image, built: `make test-image`. What needs no builder is in test_image.py."""
