failures-title = Failures
failures-total = { $count ->
    [one] 1 message failed or bounced.
   *[other] { $count } messages failed or bounced.
}
failures-say = What is still being tried is not among them; what arrived on another channel is.
failures-empty = Nothing failed in this time
failures-empty-help = Here you see why a message does not arrive: channel, account and code, with what it means and what to do.
failures-hours-1 = 1 hour
failures-hours-24 = 24 hours
failures-hours-168 = 7 days
failures-hours-720 = 30 days
cause = Cause
count = Count
over-time = When they failed
first = First
last = Last
example = An example:
no-code = without a code
code-unknown = This version does not know the code.
dead-of-lane = Dead tasks of this lane
