"""What the image is made of: pins, licences, bill of materials. The product never imports it."""
