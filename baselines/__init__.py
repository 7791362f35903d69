"""What MT-CP is compared with, written against mtcp's public plug-in interface only."""
