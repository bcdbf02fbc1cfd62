"""Maps on their images: sheets, files, notebooks."""
