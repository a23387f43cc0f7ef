"""What `make bench` measures: ratios within one run, with the machine they were taken on."""
