#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# `cargo vm demo` runs this in the VM.

echo "== Linux $(uname -r), $(grep -c ^processor /proc/cpuinfo) CPUs"
echo
echo "== lsmaps of this shell ($$), from /proc/$$/maps_lockless:"
lsmaps $$
echo
echo "== The same from /proc/$$/maps:"
cat /proc/$$/maps
echo

target churn > /tmp/churn &
churn=$!
while ! grep -q ready /tmp/churn; do sleep 0.1; done
echo "== Process $churn maps and unmaps pages all the time. Three looks at it:"
for look in 1 2 3; do
	echo
	echo "-- lsmaps, the last lines:"
	lsmaps $churn | tail -5
	echo "-- maps has $(wc -l < /proc/$churn/maps) lines now"
	sleep 1
done
kill $churn
