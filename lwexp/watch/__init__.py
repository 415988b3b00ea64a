"""watch: a live page of the runs in a folder, from the files that they write while they work.

Reads manifests, progress, metrics and logs, and answers a browser on this machine; writes nothing, and never touches a
run, a lock or a network beyond 127.0.0.1.
"""
