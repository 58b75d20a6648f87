#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# `cargo vm demo` runs this in the VM.
set -e

echo "== Linux $(uname -r), $(grep -c ^processor /proc/cpuinfo) CPUs"
echo
echo "== lsmaps of this shell ($$), from /proc/$$/maps_lockless:"
lsmaps --source lockless $$
echo
echo "== The same from /proc/$$/maps:"
cat /proc/$$/maps
echo

mkfifo /tmp/ready
target churn > /tmp/ready &
churn=$!
head -1 /tmp/ready > /dev/null
echo "== Process $churn maps and unmaps pages all the time. Three looks at it:"
for look in 1 2 3; do
	echo
	echo "-- lsmaps, the last lines:"
	lsmaps --source lockless $churn | tail -5
	echo "-- maps has $(wc -l < /proc/$churn/maps) lines now"
	sleep 1
done
kill $churn
