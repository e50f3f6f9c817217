#!/bin/bash
# The web server of the test stack: it is there, holds nothing, and ends when asked.
trap 'exit 0' TERM INT
while :; do sleep 3600 & wait $!; done
