#!/bin/sh
# The demo's page from Linux: made anew for each request.
cat <<PAGE
Content-Type: text/html

<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Linux on Bulkhead</title></head>
<body>
<h1>Linux on Bulkhead</h1>
<p>This page was sent by <code>linux</code>, a guest of this machine: Debian's kernel, unmodified, in a
virtual PC of its own.</p>
<pre>
$(uname -a)
$(uptime)
$(free)
$(cat /proc/interrupts)
</pre>
</body>
</html>
PAGE
