"""How close AgentWrite comes to the time that the teacher itself takes, what a call costs the client, and replay.

    python -m benchmarks.teacher            256 documents at 2 s a call, 64 in flight: about four minutes
    python -m benchmarks.teacher --quick    64 documents at 0.5 s: under a minute

The teacher is a server in a process of its own that answers after a fixed time, whatever the load. Documents have 8
to 16 paragraphs, written one after the other. "ideal" is the lower bound for any client that keeps to C calls in
flight: the larger of calls x latency / C and the longest document x latency. "ours" is ``write_all`` as the command
runs it, from the instructions to the files on disk, litellm's import and the ledger included. "original" is the loop
of THUDM/LongWriter agentwrite (plan.py and write.py at 3fcfdff) written anew: 8 workers, one blocking request
each, ten tries at once without a pause, and after them the words "Max tries. Failed." in place of the text.
It writes the first 16 (quick: 8) documents only, and is compared by calls a second.

The case ``overload_1s`` meets every 20th request with 429 for one second.
"""
